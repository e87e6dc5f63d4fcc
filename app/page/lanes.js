// All faces over time as stripes in the colour of what leads: packed into few lanes, as no two share a lane at one time.

import { EMOTIONS } from "./palette.js";
import { leader, meansIn } from "./timeline.js";

const NUMBER_PIXELS = 16;
const MOST_NUMBERS = 150;

// Return lanes of tracks. Where there are too many, those seen for the shortest time are left out, never the chosen one.
export function packLanes(timeline, mostLanes, chosen) {
  const wanted = [...timeline.tracks].sort((a, b) => (b.track === chosen) - (a.track === chosen)); // longest first
  const lanes = [];
  const kept = new Set();
  // which tracks fit is decided by length, which lane each takes by time: so that lanes fill from the left
  const counts = new Uint16Array(timeline.data.spans);
  for (const track of wanted) {
    const spans = counts.subarray(track.first_span, track.first_span + track.seen.length);
    if (spans.some((count) => count >= mostLanes)) continue;
    spans.forEach((_, index) => (spans[index] += 1));
    kept.add(track);
  }
  for (const track of [...kept].sort((a, b) => a.first_span - b.first_span || a.track - b.track)) {
    const isFree = (lane) => {
      const last = lane[lane.length - 1];
      return last.first_span + last.seen.length <= track.first_span;
    };
    const lane = lanes.find(isFree);
    if (lane) lane.push(track);
    else lanes.push([track]);
  }
  return lanes;
}

// Return the stripes as traces, the faces' numbers as annotations, and a frame around the chosen face's stripe.
export function createStripes(timeline, lanes, { chosen, pixelsPerSecond, color }) {
  const bars = new Map(EMOTIONS.map(({ name }) => [name, { base: [], x: [], y: [] }]));
  const numbers = [];
  const frames = [];
  lanes.forEach((lane, y) => {
    for (const track of lane) {
      for (const run of iterateRuns(track)) {
        const bar = bars.get(run.name);
        bar.base.push(timeline.spanStart(run.first));
        bar.x.push(timeline.spanStart(run.end) - timeline.spanStart(run.first));
        bar.y.push(y);
      }
      const [start, end] = [track.first_span, track.first_span + track.seen.length].map((span) => timeline.spanStart(span));
      const isChosen = track.track === chosen;
      if (isChosen) {
        const line = { width: 2, color };
        frames.push({ type: "rect", xref: "x", yref: "y2", x0: start, x1: end, y0: y - 0.44, y1: y + 0.44, line });
      }
      if (isChosen || ((end - start) * pixelsPerSecond >= NUMBER_PIXELS && numbers.length < MOST_NUMBERS)) {
        numbers.push({
          x: start,
          y,
          xref: "x",
          yref: "y2",
          xanchor: "left",
          showarrow: false,
          xshift: 3,
          borderpad: 1,
          bgcolor: "rgba(0,0,0,0.72)",
          font: { size: 10, color: "#fff", weight: isChosen ? "bold" : "normal" },
          text: String(track.track),
        });
      }
    }
  });
  const traces = EMOTIONS.map(({ name, color: fill }) => ({
    type: "bar",
    orientation: "h",
    name,
    yaxis: "y2",
    width: 0.7,
    marker: { color: fill, line: { width: 0 } },
    hoverinfo: "skip",
    ...bars.get(name),
  }));
  return { traces, numbers, frames };
}

// Yield the runs of spans in which one expression leads.
function* iterateRuns(track) {
  let run = null;
  for (let span = track.first_span; span < track.first_span + track.seen.length; span += 1) {
    const means = meansIn(track, span);
    const name = means && leader(means);
    if (run && run.name !== name) {
      yield run;
      run = null;
    }
    if (name) run = { name, first: run?.first ?? span, end: span + 1 };
  }
  if (run) yield run;
}
