// The faces of a video, one line each: which expressions led how long. Choosing a line chooses the face.

import { create } from "./dom.js";
import { formatShare, formatTime } from "./format.js";
import { EMOTIONS } from "./palette.js";

const COLORS = new Map(EMOTIONS.map(({ name, color }) => [name, color]));
const MOST_LINES = 200;

export class Faces {
  constructor(list, { onChoose }) {
    this.list = list;
    this.onChoose = onChoose;
    this.summaries = [];
  }

  // Show the summaries, those of the longest tracks first; `note` is said where there is none.
  show(summaries, chosen, note) {
    this.summaries = summaries;
    const lines = summaries.slice(0, MOST_LINES).map((summary) => this.#createLine(summary, chosen));
    const hidden = summaries.length - lines.length;
    if (hidden > 0) lines.push(create("p", { className: "small" }, `${hidden} more, seen for shorter, are in the downloads.`));
    if (!lines.length) lines.push(create("p", { className: "small" }, note));
    const hadFocus = this.list.contains(document.activeElement);
    this.list.replaceChildren(...lines);
    if (hadFocus) this.list.querySelector("input:checked")?.focus();
  }

  choose(number) {
    for (const input of this.list.querySelectorAll("input")) input.checked = Number(input.value) === number;
  }

  #createLine(summary, chosen) {
    const input = create("input", { type: "radio", name: "face", value: String(summary.track), className: "visually-hidden" });
    input.checked = summary.track === chosen;
    input.addEventListener("change", () => this.onChoose(summary.track));
    const bar = create("span", { className: "shares", "aria-hidden": "true" });
    const shares = EMOTIONS.map(({ name }) => ({ name, share: summary.shares[name] ?? 0 })).filter(({ share }) => share > 0);
    for (const { name, share } of shares) {
      const part = create("span", { title: `${name} ${formatShare(share)}` });
      part.style.flexGrow = String(share);
      part.style.backgroundColor = COLORS.get(name);
      bar.append(part);
    }
    const words = [...shares]
      .sort((a, b) => b.share - a.share)
      .slice(0, 3)
      .map(({ name, share }) => `${name}\u00a0${formatShare(share)}`)
      .join(", ");
    const span = `${formatTime(summary.start_seconds)} – ${formatTime(summary.end_seconds)}`;
    return create(
      "label",
      { className: "face" },
      input,
      create("span", { className: "face-name" }, `Face ${summary.track}`),
      create("span", { className: "face-time" }, span),
      bar,
      create("span", { className: "face-words" }, words),
    );
  }
}
