// One job: its progress, then the video beside its timeline. Ties the parts together; each part knows only itself.

import { getJson, request } from "./api.js";
import { Chart, loadChartLibrary } from "./chart.js";
import { askToDelete } from "./dialogs.js";
import { byId, create, createSwatch, show } from "./dom.js";
import { Downloads } from "./downloads.js";
import { Faces } from "./faces.js";
import { formatBytes, formatCount, formatShare, formatTime } from "./format.js";
import { followJob, isTerminal } from "./live.js";
import { Now } from "./now.js";
import { Overlay } from "./overlay.js";
import { EMOTIONS } from "./palette.js";
import { Player } from "./player.js";
import { Progress } from "./progress.js";
import { RowPages } from "./rows.js";
import { leader, Timeline } from "./timeline.js";

const SMOOTHING_STEPS = [0, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 60];
const DEBOUNCE_MS = 180;
const INTO_FRAME_SECONDS = 0.004; // a seek to a frame's very first moment may land on the one before

export class JobView {
  constructor({ onGone }) {
    this.onGone = onGone;
    this.files = new Map(); // files of this visit, by job
    this.progress = new Progress({
      card: byId("progress-card"),
      bar: byId("progress"),
      text: byId("progress-text"),
      announcer: byId("announcer"),
    });
    this.overlay = new Overlay(byId("boxes"));
    this.player = new Player(
      { video: byId("video"), empty: byId("stage-empty"), text: byId("stage-text") },
      { onTime: (seconds, isPicture) => this.#showTime(seconds, isPicture), onState: () => this.#showControls() },
    );
    this.chart = new Chart(
      {
        frame: byId("chart-frame"),
        chart: byId("chart"),
        surface: byId("surface"),
        playhead: byId("playhead"),
        pointer: byId("pointer"),
        tip: byId("tip"),
      },
      {
        onSeek: (seconds) => this.#seek(seconds),
        onPreview: (seconds) => this.#preview(seconds),
        onChoose: (number) => this.#choose(number),
      },
    );
    this.now = new Now(
      { face: byId("now-face"), bars: byId("now-bars"), othersPart: byId("others-part"), others: byId("others") },
      { onChoose: (number) => this.#choose(number) },
    );
    this.faces = new Faces(byId("faces"), { onChoose: (number) => this.#choose(number) });
    this.downloads = new Downloads(
      { card: byId("downloads-card"), list: byId("downloads") },
      { onError: (error) => this.#showError(error.message) },
    );
    createLegend(byId("legend"));
    this.#listen();
  }

  async open(id) {
    this.close();
    this.id = id;
    this.stopping = new AbortController();
    this.rows = new RowPages(id, { onLoaded: () => this.#showTime(this.player.seconds) });
    show(byId("job"), true);
    byId("job-title").textContent = "…";
    loadChartLibrary().catch((error) => this.#showError(error.message));
    this.#refresh(); // at once: most jobs that are opened have ended
    const { signal } = this.stopping;
    try {
      for await (const job of followJob(id, { signal })) this.#showJob(job);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  close() {
    this.stopping?.abort();
    this.rows?.stop();
    clearTimeout(this.timer);
    clearTimeout(this.refreshTimer);
    Object.assign(this, { id: null, job: null, timeline: null, track: undefined, fetching: null, isStale: false });
    Object.assign(this, { previewFrom: null, nextPreview: null });
    this.player.seconds = 0;
    this.player.close();
    this.overlay.clear();
    this.chart.clear();
    for (const name of ["job", "result", "job-error", "progress-card", "stage-note"]) show(byId(name), false);
    this.downloads.hide();
    byId("announcer").textContent = "";
    byId("job-facts").textContent = "";
    document.title = "emoclip";
  }

  // Play a file of the viewer beside this job's timeline.
  play(file) {
    if (!this.id) return;
    this.files.set(this.id, file);
    this.player.open(file);
    const isOther = this.job && file.size !== this.job.upload.size_bytes;
    show(byId("stage-note"), Boolean(isOther));
    this.#showControls();
  }

  // Handle a key that no control took.
  press(event) {
    if (!this.timeline || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10 };
    if (event.key in moves) this.#seek(this.player.seconds + moves[event.key]);
    else if (event.key === "Home") this.#seek(0);
    else if (event.key === "End") this.#seek(this.timeline.endSeconds);
    else if (event.key === ",") this.#step(-1);
    else if (event.key === ".") this.#step(1);
    else if (event.key === "ArrowUp") this.#chooseNext(-1);
    else if (event.key === "ArrowDown") this.#chooseNext(1);
    else if (event.key === " " && this.player.hasVideo) this.player.toggle();
    else if (event.key === "m" && this.player.hasVideo) byId("mute").click();
    else return;
    event.preventDefault();
  }

  #listen() {
    byId("play").addEventListener("click", () => this.player.toggle());
    byId("step-back").addEventListener("click", () => this.#step(-1));
    byId("step-on").addEventListener("click", () => this.#step(1));
    byId("mute").addEventListener("click", () => {
      byId("video").muted = !byId("video").muted;
    });
    byId("stage").addEventListener("click", (event) => this.#clickStage(event));
    byId("own-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.play(file);
    });
    byId("video").addEventListener("seeked", () => {
      if (this.nextPreview !== null) this.#preview(this.nextPreview);
    });
    byId("smoothing").addEventListener("input", () => this.#changeSmoothing());
    byId("delete").addEventListener("click", () => this.#delete());
    new ResizeObserver(() => this.#showTime(this.player.seconds)).observe(byId("stage"));
  }

  get #smoothingSeconds() {
    return SMOOTHING_STEPS[Number(byId("smoothing").value)];
  }

  #changeSmoothing() {
    const seconds = this.#smoothingSeconds;
    const text = seconds ? `${seconds} s` : "off";
    byId("smoothing-text").textContent = text;
    byId("smoothing").setAttribute("aria-valuetext", text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.fetching?.abort(); // the answer to what is no longer asked
      this.fetching = null;
      this.#refresh();
      if (this.job?.state === "succeeded") this.#showDownloads();
    }, DEBOUNCE_MS);
  }

  #showJob(job) {
    const before = this.job;
    this.job = job;
    const name = job.upload.file_name || "unnamed video";
    byId("job-title").textContent = name;
    document.title = `${name} – emoclip`;
    byId("job-facts").textContent = describe(job);
    if (job.video) byId("stage").style.aspectRatio = `${job.video.width} / ${job.video.height}`;
    const file = this.files.get(this.id);
    if (file && !this.player.hasVideo && !before) this.play(file);
    if (!isTerminal(job)) this.progress.show(job);
    else if (!before || !isTerminal(before)) this.#end(job);
    if (before && (job.rows_ready !== before.rows_ready || job.state !== before.state)) this.#refresh();
    this.#showFaces();
    this.#showTime(this.player.seconds);
  }

  #end(job) {
    const count = job.summary?.tracks.length ?? 0;
    const found = count === 1 ? "one face was found" : `${count || "no"} faces were found`;
    const sentences = {
      succeeded: `The analysis is done: ${found}.`,
      failed: job.error?.message ?? "The analysis failed.",
      canceled: "The analysis was canceled; what was found until then is shown.",
    };
    this.progress.end(sentences[job.state]);
    if (job.state !== "succeeded") this.#showError(sentences[job.state]);
    else this.#showDownloads();
  }

  #showDownloads() {
    this.downloads.show(this.id, this.job.upload.file_name, this.#smoothingSeconds);
  }

  #showError(message) {
    byId("job-error").textContent = message;
    show(byId("job-error"), Boolean(message));
  }

  #fail(error) {
    if (error.status === 404) this.onGone("This analysis is not there any more: it was deleted, or has expired.");
    else {
      show(byId("progress-card"), false);
      this.#showError(error.message);
    }
  }

  // Ask for the timeline; while an answer is on its way, only note that there is more.
  async #refresh() {
    if (this.fetching) {
      this.isStale = true;
      return;
    }
    const fetching = new AbortController();
    const { id, stopping } = this;
    this.fetching = fetching;
    this.isStale = false;
    const stop = () => fetching.abort();
    stopping.signal.addEventListener("abort", stop, { once: true });
    const started = performance.now();
    try {
      const parameters = { resolution: this.chart.resolution, smoothing_seconds: this.#smoothingSeconds };
      const data = await getJson(`jobs/${id}/timeline`, { parameters, signal: fetching.signal });
      if (fetching === this.fetching) this.#showTimeline(new Timeline(data));
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 404) this.#showError(error.message);
    } finally {
      stopping.signal.removeEventListener("abort", stop);
      if (fetching === this.fetching) {
        this.fetching = null;
        // a long video that is just analysed must not keep the service busy with its own chart
        const pause = Math.max(500, 4 * (performance.now() - started));
        if (this.isStale) this.refreshTimer = setTimeout(() => this.#refresh(), this.job && isTerminal(this.job) ? 0 : pause);
      }
    }
  }

  #showTimeline(timeline) {
    this.timeline = timeline;
    if (!timeline.byNumber.has(this.track)) this.track = timeline.tracks[0]?.track;
    this.rows.reset(timeline, timeline.data.smoothing_seconds);
    show(byId("result"), timeline.data.rows > 0);
    this.chart.draw(timeline, this.track).catch((error) => this.#showError(error.message));
    this.#showFaces();
    this.#showTime(this.player.seconds);
  }

  #showFaces() {
    if (!this.timeline) return;
    const official = new Map(this.job?.summary?.tracks.map((track) => [track.track, track]) ?? []);
    const summaries = this.timeline.tracks.map(({ track }) => official.get(track) ?? this.timeline.summarise(track));
    const note = this.job?.state === "processing" ? "No face yet." : "No face was found in this video.";
    this.faces.show(summaries, this.track, note);
  }

  #showTime(seconds, isPicture = !byId("video").seeking) {
    if (!this.timeline) return;
    const found = this.rows.at(seconds);
    const face = found?.row.faces.find(({ track }) => track === this.track);
    const probabilities = found ? face?.probabilities : this.timeline.meansAt(this.track, seconds);
    const title = this.track === undefined ? "No face." : `Face ${this.track}`;
    const absent = seconds < this.timeline.knownSeconds ? "not in the picture" : "not analysed yet";
    this.now.show(this.track === undefined || probabilities ? title : `${title}: ${absent}`, probabilities);
    this.now.showOthers(found?.row.faces.filter(({ track }) => track !== this.track) ?? []);
    const leading = probabilities && leader(probabilities);
    this.chart.moveTo(seconds, probabilities ? `${title} ${leading} ${formatShare(probabilities[leading])}` : title);
    const end = formatTime(this.timeline.endSeconds, { decimals: 1 });
    byId("time").textContent = `${formatTime(seconds, { decimals: 1 })} / ${end}`;
    show(byId("boxes"), this.player.hasVideo);
    if (this.player.hasVideo && isPicture) this.overlay.draw(found?.row ?? null, this.job?.video ?? null, this.track);
  }

  #showControls() {
    const video = byId("video");
    const { hasVideo, isPlaying } = this.player;
    byId("play").disabled = !hasVideo;
    byId("mute").disabled = !hasVideo;
    byId("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    byId("play").classList.toggle("is-playing", isPlaying);
    byId("mute").setAttribute("aria-pressed", String(video.muted));
    byId("mute").classList.toggle("is-muted", video.muted);
    show(byId("boxes"), hasVideo);
  }

  #seek(seconds) {
    this.previewFrom = null;
    this.nextPreview = null;
    this.player.seek(Math.min(Math.max(seconds, 0), this.timeline?.endSeconds ?? 0));
  }

  // While the video stands still it follows the pointer over the chart, and returns when the pointer leaves.
  #preview(seconds) {
    this.nextPreview = null;
    if (seconds === null) {
      if (this.previewFrom !== null) this.#seek(this.previewFrom);
      return;
    }
    if (!this.player.hasVideo || this.player.isPlaying) return;
    this.previewFrom ??= this.player.seconds;
    // a seek that comes before the last one's picture would keep every picture from being seen
    if (byId("video").seeking) this.nextPreview = seconds;
    else this.player.seek(seconds);
  }

  #step(frames) {
    byId("video").pause();
    const found = this.rows?.at(this.player.seconds);
    const row = found && this.rows.atPlace(found.place + frames);
    if (row) this.#seek(row.pts_seconds + INTO_FRAME_SECONDS);
  }

  #choose(number) {
    if (number === this.track) return;
    this.track = number;
    this.chart.draw(this.timeline, number).catch((error) => this.#showError(error.message));
    this.faces.choose(number);
    this.#showTime(this.player.seconds);
  }

  #chooseNext(direction) {
    const numbers = this.faces.summaries.map(({ track }) => track);
    const next = numbers[numbers.indexOf(this.track) + direction];
    if (next !== undefined) this.#choose(next);
  }

  #clickStage(event) {
    if (!this.player.hasVideo) return;
    const box = byId("boxes").getBoundingClientRect();
    const number = this.overlay.hit(event.clientX - box.left, event.clientY - box.top);
    if (number !== null && number !== this.track) this.#choose(number);
    else this.player.toggle();
  }

  async #delete() {
    const { id } = this;
    if (!(await askToDelete())) return;
    try {
      await request(`jobs/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error.status !== 404) {
        this.#showError(error.message);
        return;
      }
    }
    this.files.delete(id);
    this.onGone("");
  }
}

function describe(job) {
  const { video, options, upload, model } = job;
  const facts = [
    video && formatTime(video.duration_seconds),
    video && `${video.width} × ${video.height}`,
    formatBytes(upload.size_bytes),
    video && `${formatCount(video.analysed_frames)} frames${options.sample_fps ? `, ${options.sample_fps} a second` : ""}`,
    model && `model ${model.name}`,
    `kept until ${new Date(job.expires_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`,
  ];
  return facts.filter(Boolean).join(" · ");
}

function createLegend(list) {
  list.append(
    ...EMOTIONS.map(({ name, color }) => create("li", {}, createSwatch(color), name)),
    create("li", {}, create("span", { className: "swatch hatched", "aria-hidden": "true" }), "not in the picture"),
    create("li", {}, create("span", { className: "swatch empty", "aria-hidden": "true" }), "no face at all"),
    create("li", {}, create("span", { className: "swatch cut", "aria-hidden": "true" }), "cut"),
  );
}
