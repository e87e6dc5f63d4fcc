// The chart: all faces as stripes over the stacked estimates of the chosen one, a playhead, and a pointer's numbers.
// plotly draws; what moves with the video or the mouse lies over it as plain elements, so that nothing is drawn anew.

import { create, createSwatch, show } from "./dom.js";
import { formatShare, formatTime } from "./format.js";
import { createStripes, packLanes } from "./lanes.js";
import { CHART_LIBRARY, CHART_STYLES, EMOTIONS } from "./palette.js";
import { meansIn } from "./timeline.js";

const MARGIN = { l: 52, r: 12, t: 6, b: 30 };
const MOST_LANES = 8;
const LANE_PIXELS = 22;
const STACK_PIXELS = 190;
const GAP_PIXELS = 12;
const MAX_CUTS = 200;

let library = null;

// Load plotly; begun early, so that it is there when the rows are.
export function loadChartLibrary() {
  // plotly brings styles for maps as inline code, which the policy forbids and no chart here needs: an element with
  // their id makes it believe that they are there
  for (const id of CHART_STYLES) if (!document.getElementById(id)) document.head.append(create("meta", { id }));
  library ??= new Promise((resolve, reject) => {
    const script = create("script", { src: `page/${CHART_LIBRARY}`, async: true });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Error("The chart library could not be loaded. Reload the page to try again."));
    };
    document.head.append(script);
  });
  return library;
}

export class Chart {
  constructor({ frame, chart, surface, playhead, pointer, tip }, { onSeek, onPreview, onChoose }) {
    Object.assign(this, { frame, chart, surface, playhead, pointer, tip, onSeek, onPreview, onChoose });
    this.timeline = null;
    this.lanes = [];
    this.seconds = 0;
    surface.addEventListener("pointermove", (event) => this.#point(event));
    surface.addEventListener("pointerleave", () => this.#leave());
    surface.addEventListener("pointerdown", (event) => this.#press(event));
    new ResizeObserver(() => this.#resize()).observe(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // How many spans of time the chart can show.
  get resolution() {
    return Math.min(Math.max(Math.round(this.frame.clientWidth || 800), 300), 1200);
  }

  async draw(timeline = this.timeline, track = this.track) {
    if (!timeline) return;
    this.timeline = timeline;
    this.track = track;
    const plotly = await loadChartLibrary();
    if (timeline !== this.timeline || track !== this.track) return; // a later call draws
    this.lanes = packLanes(timeline, MOST_LANES, this.track);
    const lanesPixels = Math.max(this.lanes.length, 1) * LANE_PIXELS;
    this.lanesEnd = MARGIN.t + lanesPixels;
    const height = MARGIN.t + lanesPixels + GAP_PIXELS + STACK_PIXELS + MARGIN.b;
    this.frame.style.height = `${height}px`;
    this.width = this.frame.clientWidth;
    const plot = height - MARGIN.t - MARGIN.b;
    const colors = readColors(this.frame);
    const stripes = createStripes(timeline, this.lanes, {
      chosen: this.track,
      pixelsPerSecond: this.#surfaceWidth / timeline.endSeconds,
      color: colors.text,
    });
    const data = [...stripes.traces, ...createStack(timeline, timeline.byNumber.get(this.track), colors)];
    const ticks = createTicks(timeline.endSeconds, this.width);
    const layout = {
      width: this.width,
      height,
      margin: { ...MARGIN, pad: 0 },
      showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colors.text },
      xaxis: {
        range: [0, timeline.endSeconds],
        ...ticks,
        anchor: "y",
        gridcolor: colors.line,
        zeroline: false,
        ticks: "outside",
        ticklen: 4,
        tickcolor: colors.line,
      },
      yaxis: {
        domain: [0, STACK_PIXELS / plot],
        range: [0, 1],
        tickvals: [0, 0.5, 1],
        ticktext: ["0 %", "50 %", "100 %"],
        showgrid: false,
        zeroline: false,
      },
      yaxis2: {
        domain: [1 - lanesPixels / plot, 1],
        range: [Math.max(this.lanes.length, 1) - 0.5, -0.5],
        tickvals: [(Math.max(this.lanes.length, 1) - 1) / 2],
        ticktext: ["faces"],
        showgrid: false,
        zeroline: false,
      },
      barmode: "overlay",
      annotations: stripes.numbers,
      shapes: [
        ...createEmptySpans(timeline, colors),
        ...createCuts(timeline, colors),
        ...createUnknown(timeline, colors),
        ...stripes.frames,
      ],
    };
    await plotly.react(this.chart, data, layout, { staticPlot: true, responsive: false });
    this.surface.style.left = `${MARGIN.l}px`;
    this.surface.style.right = `${MARGIN.r}px`;
    this.moveTo(this.seconds);
    if (timeline === this.timeline) this.chart.dataset.drawn = String(timeline.data.rows);
  }

  // Forget a job's chart.
  clear() {
    this.timeline = null;
    if (this.width) window.Plotly.purge(this.chart);
    delete this.chart.dataset.drawn;
  }

  // Show where the video is.
  moveTo(seconds, text = "") {
    this.seconds = seconds;
    if (!this.timeline) return;
    const { endSeconds } = this.timeline;
    const share = Math.min(Math.max(seconds / endSeconds, 0), 1);
    this.playhead.style.transform = `translateX(${share * this.#surfaceWidth}px)`;
    this.surface.setAttribute("aria-valuemax", endSeconds.toFixed(2));
    this.surface.setAttribute("aria-valuenow", seconds.toFixed(2));
    const place = `${formatTime(seconds, { decimals: 1 })} of ${formatTime(endSeconds, { decimals: 1 })}`;
    this.surface.setAttribute("aria-valuetext", text ? `${place}, ${text}` : place);
  }

  get #surfaceWidth() {
    return Math.max((this.width ?? 0) - MARGIN.l - MARGIN.r, 1);
  }

  #secondsAt(event) {
    const box = this.surface.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return share * this.timeline.endSeconds;
  }

  // The face whose stripe is under the pointer, null where there is none.
  #faceAt(event) {
    const y = event.clientY - this.surface.getBoundingClientRect().top;
    if (y < MARGIN.t || y >= this.lanesEnd) return null;
    const lane = this.lanes[Math.floor((y - MARGIN.t) / LANE_PIXELS)] ?? [];
    const span = this.timeline.spanAt(this.#secondsAt(event));
    const isThere = (track) => span >= track.first_span && span < track.first_span + track.seen.length;
    return lane.find(isThere)?.track ?? null;
  }

  #point(event) {
    if (!this.timeline) return;
    const seconds = this.#secondsAt(event);
    if (event.buttons & 1) this.onSeek(seconds);
    else if (event.pointerType === "mouse") this.onPreview(seconds);
    const number = this.#faceAt(event) ?? this.track;
    this.#showTip(seconds, number);
  }

  #press(event) {
    if (!this.timeline || event.button > 0) return;
    this.surface.setPointerCapture(event.pointerId);
    const seconds = this.#secondsAt(event);
    const isAbsent = this.timeline.meansAt(this.track, seconds) === null;
    const number = this.#faceAt(event) ?? (isAbsent ? this.timeline.tracksAt(seconds)[0]?.track : undefined);
    if (number !== undefined) this.onChoose(number);
    this.onSeek(seconds);
  }

  #leave() {
    show(this.pointer, false);
    show(this.tip, false);
    this.onPreview(null);
  }

  #showTip(seconds, number) {
    const x = (seconds / this.timeline.endSeconds) * this.#surfaceWidth;
    this.pointer.style.transform = `translateX(${x}px)`;
    show(this.pointer, true);
    const means = this.timeline.meansAt(number, seconds);
    const lines = means
      ? [...EMOTIONS]
          .sort((a, b) => means[b.name] - means[a.name])
          .map(({ name, color }) => create("li", {}, createSwatch(color), `${name} ${formatShare(means[name])}`))
      : [create("li", {}, seconds < this.timeline.knownSeconds ? "not in the picture" : "not analysed yet")];
    const title = `${formatTime(seconds, { decimals: 1 })}${number === undefined ? "" : ` · Face ${number}`}`;
    this.tip.replaceChildren(create("strong", {}, title), create("ul", {}, ...lines));
    show(this.tip, true);
    const left = MARGIN.l + x + 14;
    const fits = left + this.tip.offsetWidth < this.frame.clientWidth;
    this.tip.style.left = `${fits ? left : Math.max(MARGIN.l + x - 14 - this.tip.offsetWidth, 0)}px`;
  }

  #resize() {
    if (this.timeline && this.frame.clientWidth && this.frame.clientWidth !== this.width) this.draw();
  }
}

// Seven stacked steps, and an eighth, hatched, where the face is not in the picture.
function createStack(timeline, track, colors) {
  const known = timeline.data.positions.length;
  const x = Array.from({ length: known + 1 }, (_, span) => timeline.spanStart(span));
  const means = Array.from({ length: known }, (_, span) => (track ? meansIn(track, span) : null));
  const lines = EMOTIONS.map(({ name, color }) => ({
    name,
    y: means.map((found) => (found ? found[name] : 0)),
    fillcolor: color,
  }));
  lines.push({
    name: "not in the picture",
    y: means.map((found) => (found ? 0 : 1)),
    fillcolor: "rgba(0,0,0,0)",
    fillpattern: { shape: "/", size: 8, solidity: 0.12, fgcolor: colors.muted, bgcolor: "rgba(0,0,0,0)" },
  });
  return lines.map(({ y, ...line }) => ({
    type: "scatter",
    mode: "lines",
    stackgroup: "all",
    line: { shape: "hv", width: 0 },
    hoverinfo: "skip",
    x,
    y: [...y, y[y.length - 1] ?? 0],
    ...line,
  }));
}

function createEmptySpans(timeline, colors) {
  return timeline.data.without_face.map(([x0, x1]) => ({
    type: "rect",
    layer: "below",
    xref: "x",
    yref: "paper",
    x0,
    x1,
    y0: 0,
    y1: 1,
    line: { width: 0 },
    fillcolor: colors.empty,
  }));
}

function createCuts(timeline, colors) {
  return timeline.data.cuts.slice(0, MAX_CUTS).map((seconds) => ({
    type: "line",
    xref: "x",
    yref: "paper",
    x0: seconds,
    x1: seconds,
    y0: 0,
    y1: 1,
    line: { width: 1.5, dash: "dot", color: colors.text },
  }));
}

// While the analysis runs: what is not known yet.
function createUnknown(timeline, colors) {
  const start = timeline.knownSeconds;
  if (start >= timeline.endSeconds - timeline.data.span_seconds / 2) return [];
  const line = { width: 1, color: colors.muted };
  return [{ type: "line", xref: "x", yref: "paper", x0: start, x1: start, y0: 0, y1: 1, line }];
}

function createTicks(endSeconds, width) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  const most = Math.max((width - MARGIN.l - MARGIN.r) / 80, 2);
  const step = steps.find((candidate) => endSeconds / candidate <= most) ?? 7200;
  const tickvals = Array.from({ length: Math.floor(endSeconds / step + 1e-6) + 1 }, (_, index) => index * step);
  return { tickvals, ticktext: tickvals.map((value) => formatTime(value, { decimals: step < 1 ? 1 : 0 })) };
}

function readColors(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return { text: read("--text"), muted: read("--muted"), line: read("--line"), empty: read("--empty") };
}
