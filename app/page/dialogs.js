// The two questions: for an API key, and whether to delete.

import { setKey } from "./api.js";
import { byId } from "./dom.js";

let asking = null;

// Ask for the API key, once however many requests wait for it; resolves to whether there is one.
export function askForKey() {
  asking ??= ask(byId("key-dialog"), byId("key-form"), byId("key-cancel")).then((isGiven) => {
    asking = null;
    if (isGiven) setKey(byId("key").value.trim());
    byId("key").value = "";
    byId("key-text").textContent = "This key was not accepted. Try another one; it is kept until you close this tab.";
    return isGiven;
  });
  return asking;
}

export function askToDelete() {
  return ask(byId("delete-dialog"), byId("delete-form"), byId("delete-cancel"));
}

function ask(dialog, form, cancel) {
  return new Promise((resolve) => {
    const finish = (answer) => {
      form.removeEventListener("submit", submit);
      cancel.removeEventListener("click", refuse);
      dialog.removeEventListener("close", refuse);
      if (dialog.open) dialog.close();
      resolve(answer);
    };
    const submit = () => finish(true);
    const refuse = () => finish(false);
    form.addEventListener("submit", submit);
    cancel.addEventListener("click", refuse);
    dialog.addEventListener("close", refuse); // Escape
    dialog.showModal();
  });
}
