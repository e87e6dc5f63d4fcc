// Requests to the service: with the API key where one is asked for, and refusals as errors with one clear sentence.

const BASE = new URL("v1/", document.baseURI);
const KEY_NAME = "emoclip-key";
const RETRIES = 3;

let askForKey = async () => false;

// A refusal; `message` is a sentence for people, `code` stays the same between versions.
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// Set what asks the person for a key; it resolves to whether there is a new one.
export function setKeyPrompt(prompt) {
  askForKey = prompt;
}

export function setKey(key) {
  sessionStorage.setItem(KEY_NAME, key);
}

export function hasKey() {
  return Boolean(sessionStorage.getItem(KEY_NAME));
}

function keyHeaders() {
  const key = sessionStorage.getItem(KEY_NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// Return the address of an API path such as "jobs/ID/frames", relative to where the page stands.
export function apiUrl(path, parameters = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

// Return a successful response. Asks for a key on 401; waits and asks again where the service is busy.
export async function request(path, { method = "GET", parameters = {}, headers = {}, signal } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    let response;
    try {
      response = await fetch(apiUrl(path, parameters), { method, headers: { ...keyHeaders(), ...headers }, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (attempt < RETRIES && method === "GET") {
        await wait(1, signal);
        continue;
      }
      throw new ApiError(0, "unreachable", "The service cannot be reached. Is it running, and are you online?");
    }
    if (response.ok) return response;
    if (response.status === 401 && (await askForKey())) continue;
    if ([429, 503].includes(response.status) && method === "GET" && attempt < RETRIES) {
      await wait(retryAfter(response), signal);
      continue;
    }
    throw createError(response.status, await response.text());
  }
}

export async function getJson(path, options) {
  return (await request(path, options)).json();
}

// Return the seconds after which the service wants to be asked again.
export function retryAfter(response) {
  return Math.min(Math.max(Number(response.headers.get("retry-after")) || 1, 0.5), 30);
}

// Wait; rejects with AbortError when the signal says so.
export function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

// Send a video. XMLHttpRequest, because fetch tells nothing of how far an upload is. Returns the job.
export async function upload(file, options, { onProgress, signal }) {
  for (;;) {
    const { status, text } = await send(file, options, { onProgress, signal });
    if (status === 202) return JSON.parse(text);
    if (status === 401 && (await askForKey())) continue;
    throw createError(status, text);
  }
}

function send(file, options, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", apiUrl("jobs", { ...options, file_name: file.name.slice(0, 255) }));
    sending.setRequestHeader("Content-Type", contentType(file));
    for (const [name, value] of Object.entries(keyHeaders())) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) => onProgress(event.loaded, file.size);
    sending.onload = () => resolve({ status: sending.status, text: sending.responseText });
    sending.onerror = () =>
      reject(new ApiError(0, "unreachable", "The upload was cut off: the service cannot be reached, or has refused it."));
    sending.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => sending.abort(), { once: true });
    sending.send(file);
  });
}

// What a system calls a file is not always a video's type (.ts is a language, too): the name's ending then decides.
function contentType(file) {
  if (/^(video|audio)\/|^image\/gif$/.test(file.type)) return file.type;
  if (/\.(mp4|m4v|mov|mkv|webm|avi|ts|mts|m2ts|mpe?g|ogv|wmv|flv|3gp|gif)$/i.test(file.name)) return "application/octet-stream";
  return file.type || "application/octet-stream";
}

function createError(status, text) {
  try {
    const problem = JSON.parse(text);
    const details = (problem.errors ?? []).map((error) => error.message ?? error.detail).filter(Boolean);
    const message = [problem.detail ?? problem.title, ...details].filter(Boolean).join(" ");
    if (message) return new ApiError(status, problem.code ?? "", message);
  } catch {
    // not the service's own answer: a proxy's page
  }
  const reasons = { 413: "The video is too large for this service.", 502: "The service does not run.", 504: "The service is too slow." };
  return new ApiError(status, "", reasons[status] ?? `The service refused with the status ${status}.`);
}
