// A job as it goes on: by the service's event stream, and by asking again where a proxy does not let streams through.

import { getJson, request, retryAfter, wait } from "./api.js";

const TERMINAL = ["succeeded", "failed", "canceled"];

export function isTerminal(job) {
  return TERMINAL.includes(job.state);
}

// Yield the job, again and again, until it has ended. A fetched stream, since EventSource cannot send a key.
export async function* followJob(id, { signal }) {
  let job = await getJson(`jobs/${id}`, { signal });
  yield job;
  let misses = 0;
  while (!isTerminal(job) && misses < 3) {
    let events = 0;
    try {
      for await (const event of iterateEvents(id, signal)) {
        events += 1;
        job = apply(job, event);
        yield job;
        if (isTerminal(job)) break;
      }
    } catch (error) {
      if (signal.aborted || error.status === 404) throw error;
    }
    if (isTerminal(job)) break;
    misses = events > 1 ? 0 : misses + 1;
    await wait(1, signal);
  }
  while (!isTerminal(job)) {
    const response = await request(`jobs/${id}`, { signal });
    job = await response.json();
    yield job;
    if (!isTerminal(job)) await wait(retryAfter(response), signal);
  }
  if (!job.summary && job.state === "succeeded") yield await getJson(`jobs/${id}`, { signal });
}

function apply(job, { name, data }) {
  if (name === "state") return data;
  if (name === "end") return data.job ?? job;
  if (name === "reset") return { ...job, rows_ready: 0 };
  if (name !== "progress") return job;
  const { state, rows_ready, ...progress } = data;
  // the end comes as a whole job, with its summary
  return { ...job, state: TERMINAL.includes(state) ? job.state : state, rows_ready, progress };
}

async function* iterateEvents(id, signal) {
  const headers = { Accept: "text/event-stream" };
  const response = await request(`jobs/${id}/events`, { parameters: { rows: false }, headers, signal });
  if (response.status === 204) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
