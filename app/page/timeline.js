// The timeline as the service sent it, and what is asked of it: who is seen when, and what leads.

import { EMOTIONS } from "./palette.js";

export class Timeline {
  constructor(data) {
    this.data = data;
    this.endSeconds = data.end_seconds;
    this.tracks = [...data.tracks].sort((a, b) => weigh(b) - weigh(a) || a.track - b.track);
    this.byNumber = new Map(data.tracks.map((track) => [track.track, track]));
  }

  // Start of a span, in seconds; of the one after the last, the end.
  spanStart(span) {
    return span * this.data.span_seconds;
  }

  spanAt(seconds) {
    return Math.min(Math.max(Math.floor(seconds / this.data.span_seconds + 1e-6), 0), this.data.spans - 1);
  }

  // Until when rows have been read, in seconds.
  get knownSeconds() {
    return this.spanStart(this.data.positions.length);
  }

  // Mean probabilities of a track at a time, null where it is not seen.
  meansAt(number, seconds) {
    const track = this.byNumber.get(number);
    return track ? meansIn(track, this.spanAt(seconds)) : null;
  }

  // The faces that are seen at a time, those seen longest first.
  tracksAt(seconds) {
    const span = this.spanAt(seconds);
    return this.tracks.filter((track) => meansIn(track, span) !== null);
  }

  // Place of a row not after a time, near it.
  positionAt(seconds) {
    const { positions } = this.data;
    return positions.length ? positions[Math.min(this.spanAt(seconds), positions.length - 1)] : 0;
  }

  // What the service's summary will say, from the spans so far.
  summarise(number) {
    const track = this.byNumber.get(number);
    const shares = Object.fromEntries(EMOTIONS.map(({ name }) => [name, 0]));
    let seen = 0;
    track.seen.forEach((share, index) => {
      const means = meansIn(track, track.first_span + index);
      if (!means) return;
      shares[leader(means)] += share;
      seen += share;
    });
    for (const name of Object.keys(shares)) shares[name] /= seen || 1;
    return {
      track: number,
      start_seconds: this.spanStart(track.first_span),
      end_seconds: this.spanStart(track.first_span + track.seen.length),
      emotion: leader(shares),
      shares,
    };
  }
}

export function meansIn(track, span) {
  const index = span - track.first_span;
  if (!(index >= 0 && index < track.seen.length) || track.probabilities.neutral[index] === null) return null;
  return Object.fromEntries(EMOTIONS.map(({ name }) => [name, track.probabilities[name][index]]));
}

export function leader(probabilities) {
  return EMOTIONS.reduce((best, { name }) => (probabilities[name] > probabilities[best] ? name : best), EMOTIONS[0].name);
}

function weigh(track) {
  return track.seen.reduce((sum, share) => sum + share, 0);
}
