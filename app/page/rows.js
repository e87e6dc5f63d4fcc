// The rows around the playhead: fetched by pages, the next page ahead of time, the farthest pages forgotten.

import { getJson } from "./api.js";

const PAGE_ROWS = 256;
const MOST_PAGES = 40;
const TOLERANCE_SECONDS = 0.002;

export class RowPages {
  constructor(id, { onLoaded }) {
    this.id = id;
    this.onLoaded = onLoaded;
    this.stopping = new AbortController();
    this.reset(null, 0);
  }

  // Begin anew: other smoothing, or more rows than before.
  reset(timeline, smoothingSeconds) {
    const isShorter = timeline && this.timeline && timeline.data.rows < this.timeline.data.rows; // analysed in another way
    this.timeline = timeline;
    if (smoothingSeconds !== this.smoothingSeconds || !timeline || isShorter) this.pages = new Map();
    else for (const [number, page] of this.pages) if (page.rows && page.rows.length < PAGE_ROWS) this.pages.delete(number);
    this.smoothingSeconds = smoothingSeconds;
  }

  stop() {
    this.stopping.abort();
  }

  // Return the row that is shown at a time, and its place; null while it is fetched or where there is none.
  at(seconds) {
    if (!this.timeline?.data.rows) return null;
    const wanted = seconds + TOLERANCE_SECONDS;
    const first = Math.floor(this.timeline.positionAt(wanted) / PAGE_ROWS);
    let found = null;
    // the span's first row may stand pages before the row looked for
    for (let number = first; number * PAGE_ROWS < this.timeline.data.rows; number += 1) {
      const rows = this.#page(number);
      if (!rows?.length || rows[0].pts_seconds > wanted) break;
      const index = findLast(rows, wanted);
      found = { row: rows[index], place: number * PAGE_ROWS + index };
      if (index < rows.length - 1) break;
    }
    return found;
  }

  // Return the row at a place, null while it is fetched or where there is none.
  atPlace(place) {
    if (place < 0 || !this.timeline || place >= this.timeline.data.rows) return null;
    return this.#page(Math.floor(place / PAGE_ROWS))?.[place % PAGE_ROWS] ?? null;
  }

  #page(number) {
    const start = number * PAGE_ROWS;
    if (start >= this.timeline.data.rows) return null;
    const page = this.pages.get(number) ?? this.#fetch(number, start);
    if (page.rows && !this.pages.has(number + 1) && start + PAGE_ROWS < this.timeline.data.rows) {
      this.#fetch(number + 1, start + PAGE_ROWS);
    }
    return page.rows;
  }

  #fetch(number, start) {
    const page = { rows: null };
    this.pages.set(number, page);
    if (this.pages.size > MOST_PAGES) {
      const farthest = [...this.pages.keys()].reduce((a, b) => (Math.abs(b - number) > Math.abs(a - number) ? b : a));
      this.pages.delete(farthest);
    }
    const parameters = { start, limit: PAGE_ROWS, smoothing_seconds: this.smoothingSeconds };
    getJson(`jobs/${this.id}/frames`, { parameters, signal: this.stopping.signal })
      .then((answer) => {
        page.rows = answer.rows;
        this.onLoaded();
      })
      .catch(() => this.pages.get(number) === page && this.pages.delete(number)); // asked for again when it is needed
    return page;
  }
}

function findLast(rows, seconds) {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle].pts_seconds <= seconds) low = middle;
    else high = middle - 1;
  }
  return low;
}
