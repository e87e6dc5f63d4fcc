// The page: which view is shown follows the address (#job=ID), so that back, forward and bookmarks work.

import { setKeyPrompt } from "./api.js";
import { askForKey } from "./dialogs.js";
import { byId, show } from "./dom.js";
import { JobView } from "./job.js";
import { StartView } from "./start.js";

let notice = ""; // said in the first view once

const start = new StartView({
  onJob: (job, file) => {
    jobView.files.set(job.id, file);
    location.hash = `job=${job.id}`;
  },
});
const jobView = new JobView({
  onGone: (reason) => {
    notice = reason;
    location.hash = "";
  },
});

setKeyPrompt(askForKey);

function route() {
  const found = /^#job=([0-9a-f]{32})$/.exec(location.hash);
  byId("start-error").textContent = notice;
  show(byId("start-error"), Boolean(notice));
  notice = "";
  if (found) {
    start.close();
    jobView.open(found[1]);
  } else {
    jobView.close();
    start.open();
  }
  window.scrollTo(0, 0);
}

// Only a key that no control uses itself is a shortcut.
document.addEventListener("keydown", (event) => {
  const own = event.target.closest?.("input, select, textarea, dialog, summary, a");
  const isButtonKey = event.target.closest?.("button") && [" ", "Enter"].includes(event.key);
  if (!own && !isButtonKey && !byId("job").hidden) jobView.press(event);
});

// A file dropped anywhere must not make the browser leave the page.
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.add("is-dragging");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("is-dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("is-dragging");
  const [file] = event.dataTransfer.files;
  if (!file) return;
  if (byId("job").hidden) start.send(file);
  else jobView.play(file);
});

window.addEventListener("hashchange", route);
route();
