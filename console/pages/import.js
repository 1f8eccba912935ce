import { ErrorNotice } from "../components/Notice.js";
import { html } from "../html.js";
import { useLoaded } from "../loading.js";

/** @param {import("../main.js").PageProperties} properties */
export function ImportPage({ gateway, parameters }) {
  const path = `/api/imports/${encodeURIComponent(parameters["importId"] ?? "")}`;
  const shown = useLoaded((signal) => gateway.get(path, {}, { signal }), [path], 2);
  return html`
    <h1>Import</h1>
    <${ErrorNotice} error=${shown.error} onRetry=${shown.reload} />
    ${shown.value && html`<p>${shown.value.type}</p>`}
  `;
}
