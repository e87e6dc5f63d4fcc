// Every form of the result that the service offers: read from its own description, so that none is forgotten.

import { apiUrl, hasKey, request } from "./api.js";
import { create, show } from "./dom.js";

const KNOWN = {
  json: ["JSON", "everything, for programs"],
  csv: ["CSV", "for spreadsheets: one line a face and frame"],
  ndjson: ["NDJSON", "one row a line, for pipelines"],
  parquet: ["Parquet", "for pandas, DuckDB and friends"],
  vtt: ["WebVTT", "captions: the leading expressions"],
  srt: ["SRT", "the same as subtitles"],
  provenance: ["Provenance", "which weights and versions made it"],
};
const RESULT_PATH = "/v1/jobs/{job_id}/result";

let formats = null;

export class Downloads {
  constructor({ card, list }, { onError }) {
    Object.assign(this, { card, list, onError });
  }

  async show(id, fileName, smoothingSeconds) {
    const names = await listFormats();
    const items = names.map((name) => create("li", {}, this.#createLink(id, name, fileName, smoothingSeconds)));
    this.list.replaceChildren(...items);
    show(this.card, items.length > 0);
  }

  hide() {
    show(this.card, false);
  }

  #createLink(id, format, fileName, smoothingSeconds) {
    const [title, use] = KNOWN[format] ?? [format.toUpperCase(), ""];
    const parameters = { format, ...(smoothingSeconds ? { smoothing_seconds: smoothingSeconds } : {}) };
    const suffix = format === "provenance" ? "provenance.json" : format;
    const name = `${fileName.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._ -]/gu, "_") || "emoclip"}.${suffix}`;
    const link = create("a", { className: "download", href: apiUrl(`jobs/${id}/result`, parameters).href, download: name });
    link.append(create("strong", {}, title), create("span", { className: "small" }, use));
    // a link cannot send a key
    link.addEventListener("click", (event) => {
      if (!hasKey()) return;
      event.preventDefault();
      save(`jobs/${id}/result`, parameters, name).catch(this.onError);
    });
    return link;
  }
}

async function save(path, parameters, name) {
  const response = await request(path, { parameters });
  const url = URL.createObjectURL(await response.blob());
  create("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function listFormats() {
  formats ??= fetch(new URL("openapi.json", document.baseURI))
    .then((response) => response.json())
    .then((api) => findFormats(api))
    .catch(() => {
      formats = null;
      return ["json", "csv"];
    });
  return formats;
}

function findFormats(api) {
  const parameter = api.paths[RESULT_PATH].get.parameters.find(({ name }) => name === "format");
  const resolve = (schema) => (schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);
  const options = [parameter.schema, ...(parameter.schema.anyOf ?? [])].map(resolve);
  return options.find((schema) => schema.enum)?.enum ?? ["json", "csv"];
}
