// What the chosen face shows at the playhead: seven bars with their numbers; and who else is in the picture.

import { create, createSwatch, show } from "./dom.js";
import { formatShare } from "./format.js";
import { EMOTIONS } from "./palette.js";

const COLORS = new Map(EMOTIONS.map(({ name, color }) => [name, color]));
const MOST_OTHERS = 12;

export class Now {
  constructor({ face, bars, othersPart, others }, { onChoose }) {
    Object.assign(this, { face, othersPart, others, onChoose });
    this.shown = "";
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

  // Show the other faces of a row, each a button that chooses it.
  showOthers(faces) {
    const state = JSON.stringify(faces.map(({ track, emotion }) => [track, emotion]));
    if (state === this.shown) return; // a button must not be replaced while it is pressed
    this.shown = state;
    const buttons = faces.slice(0, MOST_OTHERS).map(({ track, emotion }) => {
      const swatch = createSwatch(COLORS.get(emotion));
      const button = create("button", { type: "button", className: "button" }, swatch, `Face ${track}: ${emotion}`);
      button.addEventListener("click", () => this.onChoose(track));
      return button;
    });
    this.others.replaceChildren(...buttons);
    show(this.othersPart, buttons.length > 0);
  }
}
