// The first view: take a video, send it, and list what was sent before.

import { getJson, upload } from "./api.js";
import { byId, create, createSwatch, show } from "./dom.js";
import { formatAge, formatBytes, formatDuration, formatShare } from "./format.js";
import { EMOTIONS } from "./palette.js";

const STATES = {
  queued: "waiting",
  processing: "being analysed",
  succeeded: "done",
  failed: "failed",
  canceled: "canceled",
};
const RECENT = 20;

export class StartView {
  // `onJob(job, file)` is called when a video has been taken on.
  constructor({ onJob }) {
    this.onJob = onJob;
    this.sending = null;
    this.cursor = null;
    const names = EMOTIONS.map(({ name, color }) => create("li", {}, createSwatch(color), name));
    byId("legend-start").append(...names);
    byId("file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = ""; // so that the same file can be chosen again
      if (file) this.send(file);
    });
    byId("upload-cancel").addEventListener("click", () => this.sending?.abort());
    byId("recent-more").addEventListener("click", () => this.#list());
    byId("options").addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("beforeunload", (event) => this.sending && event.preventDefault());
  }

  open() {
    show(byId("start"), true);
    document.title = "emoclip";
    this.cursor = null;
    this.#list();
  }

  close() {
    show(byId("start"), false);
  }

  async send(file) {
    if (this.sending) return;
    const form = byId("options");
    this.#showError("");
    if (!form.checkValidity()) {
      form.closest("details").open = true;
      form.reportValidity();
      return;
    }
    this.sending = new AbortController();
    this.#showUpload(file);
    try {
      const options = Object.fromEntries(new FormData(form));
      const job = await upload(file, options, {
        onProgress: (sent, total) => this.#showProgress(sent, total),
        signal: this.sending.signal,
      });
      this.sending = null;
      this.onJob(job, file);
    } catch (error) {
      if (error.name !== "AbortError") this.#showError(error.message);
    } finally {
      this.sending = null;
      show(byId("upload"), false);
      show(byId("drop"), true);
    }
  }

  #showUpload(file) {
    this.startedAt = performance.now();
    byId("upload-name").textContent = file.name;
    show(byId("upload"), true);
    show(byId("drop"), false);
    this.#showProgress(0, file.size);
    byId("upload-cancel").focus();
  }

  #showProgress(sent, total) {
    const share = total ? Math.min(sent / total, 1) : 1;
    byId("upload-progress").value = share;
    const seconds = (performance.now() - this.startedAt) / 1000;
    const left = sent && seconds > 2 && share < 1 ? ` · about ${formatDuration((seconds / share) * (1 - share))} left` : "";
    byId("upload-text").textContent =
      share < 1 ? `Sending: ${formatShare(share)} of ${formatBytes(total)}${left}` : "Sent; being taken on …";
  }

  #showError(message) {
    byId("start-error").textContent = message;
    show(byId("start-error"), Boolean(message));
  }

  async #list() {
    const list = byId("recent");
    try {
      const page = await getJson("jobs", { parameters: { limit: RECENT, cursor: this.cursor } });
      const items = page.jobs.map((job) => createItem(job));
      if (this.cursor) list.append(...items);
      else list.replaceChildren(...items);
      this.cursor = page.next;
    } catch (error) {
      this.#showError(error.message);
      this.cursor = null;
    }
    show(byId("recent-empty"), !list.children.length);
    show(byId("recent-more"), Boolean(this.cursor));
  }
}

function createItem(job) {
  const facts = [STATES[job.state] ?? job.state, formatAge(job.created_at), formatBytes(job.upload.size_bytes)];
  return create(
    "li",
    {},
    create(
      "a",
      { href: `#job=${job.id}`, className: "recent-job" },
      create("span", { className: "ellipsis recent-name" }, job.upload.file_name || "unnamed video"),
      create("span", { className: `small state-${job.state}` }, facts.join(" · ")),
    ),
  );
}
