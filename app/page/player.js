// The viewer's own file in a video element, and the time it shows; without a file, a playhead alone.

import { show } from "./dom.js";

export class Player {
  // `onTime(seconds, isPicture)` is called with the presentation time of each picture that is shown, and with the time
  // that is sought before its picture is there.
  constructor({ video, empty, text }, { onTime, onState }) {
    Object.assign(this, { video, empty, text, onTime, onState });
    this.seconds = 0;
    this.firstText = text.textContent;
    this.url = null;
    const tellsFrames = "requestVideoFrameCallback" in video;
    const tell = () => {
      if (!(tellsFrames && this.isPlaying)) this.#tell(video.currentTime); // the clock may be ahead of the picture
    };
    for (const name of ["seeked", "timeupdate", "loadeddata"]) video.addEventListener(name, tell);
    for (const name of ["play", "pause", "ended", "volumechange", "loadeddata"]) video.addEventListener(name, onState);
    video.addEventListener("error", () => this.#refuse());
    if (tellsFrames) this.#watchFrames();
    else video.addEventListener("play", () => this.#watchClock());
  }

  get hasVideo() {
    return this.url !== null;
  }

  get isPlaying() {
    return this.hasVideo && !this.video.paused && !this.video.ended;
  }

  open(file) {
    this.close();
    this.url = URL.createObjectURL(file);
    this.video.src = this.url;
    show(this.video, true);
    show(this.empty, false);
    this.video.currentTime = this.seconds;
  }

  close() {
    if (this.url !== null) {
      this.video.pause();
      this.video.removeAttribute("src");
      this.video.load();
      URL.revokeObjectURL(this.url);
    }
    this.url = null;
    this.text.textContent = this.firstText;
    show(this.video, false);
    show(this.empty, true);
    this.onState();
  }

  toggle() {
    if (!this.hasVideo) return;
    if (this.isPlaying) this.video.pause();
    else this.video.play().catch(() => {}); // paused again before it began
  }

  seek(seconds) {
    this.seconds = seconds;
    if (this.hasVideo) this.video.currentTime = seconds;
    this.onTime(seconds, false);
  }

  #tell(seconds) {
    if (!this.hasVideo || this.video.seeking) return;
    this.seconds = seconds;
    this.onTime(seconds, true);
  }

  // Called for each picture with its own time: the boxes are those of the picture, whatever the clock says.
  #watchFrames() {
    const next = (_now, { mediaTime }) => {
      this.#tell(mediaTime);
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }

  #watchClock() {
    const next = () => {
      if (!this.isPlaying) return;
      this.#tell(this.video.currentTime);
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  }

  #refuse() {
    if (!this.hasVideo) return;
    this.close();
    this.text.textContent =
      "Your browser cannot play this file: its format is not one that browsers know. The timeline works without it.";
  }
}
