// What the chosen face shows at the playhead: seven bars with their numbers.

import { create, createSwatch } from "./dom.js";
import { formatShare } from "./format.js";
import { EMOTIONS } from "./palette.js";

export class Now {
  constructor({ face, bars }) {
    this.face = face;
    this.lines = EMOTIONS.map(({ name, color }) => {
      const bar = create("span", { className: "bar-fill" });
      bar.style.backgroundColor = color;
      const value = create("span", { className: "bar-value" });
      const line = create(
        "li",
        {},
        create("span", { className: "bar-name" }, createSwatch(color), name),
        create("span", { className: "bar-track", "aria-hidden": "true" }, bar),
        value,
      );
      bars.append(line);
      return { name, bar, value, line };
    });
  }

  // Show probabilities, or why there are none.
  show(title, probabilities) {
    this.face.textContent = title;
    const highest = probabilities ? Math.max(...EMOTIONS.map(({ name }) => probabilities[name])) : 2;
    for (const { name, bar, value, line } of this.lines) {
      const probability = probabilities?.[name] ?? 0;
      bar.style.transform = `scaleX(${probability})`;
      value.textContent = probabilities ? formatShare(probability) : "–";
      line.classList.toggle("leads", probability >= highest);
    }
  }
}
