// How far the analysis is: a bar, a sentence, and now and then the sentence for screen readers.

import { show } from "./dom.js";
import { formatCount, formatDuration } from "./format.js";

const ANNOUNCE_MS = 8000;

export class Progress {
  constructor({ card, bar, text, announcer }) {
    Object.assign(this, { card, bar, text, announcer });
    this.announcedAt = 0;
  }

  show(job) {
    const { frames_done: done, frames_total: total, frames_per_second: rate, eta_seconds: eta } = job.progress;
    show(this.card, true);
    if (job.state === "queued") {
      this.bar.removeAttribute("value");
      this.#say("Waiting for a free worker …");
    } else if (!total || !done) {
      this.bar.removeAttribute("value");
      this.#say("Reading the video …");
    } else {
      this.bar.value = Math.min(done / total, 1);
      const left = eta === null ? "" : ` · about ${formatDuration(eta)} left`;
      this.#say(`Analysing: ${formatCount(done)} of ${formatCount(total)} frames · ${rate.toFixed(0)} a second${left}`);
    }
  }

  end(sentence) {
    show(this.card, false);
    this.announcer.textContent = sentence;
  }

  #say(sentence) {
    this.text.textContent = sentence;
    if (Date.now() - this.announcedAt > ANNOUNCE_MS) {
      this.announcedAt = Date.now();
      this.announcer.textContent = sentence;
    }
  }
}
