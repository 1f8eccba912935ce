import { formatValue } from "../formatting.js";
import { html } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf, replaceQuery } from "../routes.js";
import { DataTable } from "./DataTable.js";
import { MessageList } from "./MessageText.js";
import { ErrorNotice } from "./Notice.js";
import { Pager, usePages } from "./Pager.js";
import { Value } from "./Value.js";

const OF_PAGE = 25;
const OUTCOMES = { "": "all", failed: "failed", new: "new", updated: "updated", unchanged: "unchanged", reversed: "put back" };
const COLOURS = /** @type {Record<string, string>} */ ({ failed: "bad", new: "good", updated: "good", reversed: "good" });

/**
 * What became of each row, in pages.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string, type: string, isUndo: boolean,
 *   query: Record<string, string>, revision: string }} properties
 */
export function RowResults({ gateway, importId, type, isUndo, query, revision }) {
  const { outcome = "", severity = "", error = "", field = "" } = query;
  const pages = usePages(JSON.stringify([importId, outcome, severity, error, field]));
  const path = `/api/imports/${encodeURIComponent(importId)}/results`;
  const list = useLoaded(
    (signal) => gateway.get(path, {
      outcome, severity: error ? "" : severity, errorID: error, fieldName: field, pageSize: OF_PAGE, continuation: pages.continuation,
    }, { signal, isExact: true }),
    [importId, outcome, severity, error, field, pages.continuation],
    null,
    revision,
  );
  const columns = [
    { key: "index", title: "Row", isNumber: true, isHeader: true, render: (/** @type {any} */ item) => item.index + 1 },
    { key: "key", title: "Key", render: (/** @type {any} */ item) => {
      const pairs = Object.entries(item.key);
      if (pairs.length === 0) return html`<span class="faint">none</span>`;
      return html`
        <a href=${recordHash(type, item.key)} title=${pairs.map(([name]) => name).join(", ")}>
          ${pairs.map(([name, value], at) => html`<span key=${name}>${at > 0 ? " · " : ""}<${Value} value=${value} isShort /></span>`)}
        </a>
      `;
    } },
    { key: "outcome", title: "Outcome", render: (/** @type {any} */ item) => html`
      <span class=${COLOURS[item.outcome] ?? ""}>${item.outcome === "reversed" ? "put back" : item.outcome}</span>
    ` },
    { key: "messages", title: "Messages", render: (/** @type {any} */ item) => html`<${MessageList} messages=${item.messages} />` },
  ];
  const outcomes = Object.entries(OUTCOMES).filter(([name]) => isUndo ? !["new", "updated"].includes(name) : name !== "reversed");
  return html`
    <div class="filters">
      <label>
        Outcome
        <select value=${outcome} onChange=${(/** @type {any} */ event) => replaceQuery({ ...query, outcome: event.currentTarget.value })}>
          ${outcomes.map(([name, words]) => html`<option key=${name} value=${name}>${words}</option>`)}
        </select>
      </label>
      <label>
        Messages
        <select value=${severity} disabled=${error !== ""} onChange=${(/** @type {any} */ event) => replaceQuery({ ...query, severity: event.currentTarget.value })}>
          ${[["", "with or without"], ["error", "with an Error"], ["warning", "with a Warning"], ["info", "with an Info"]].map(([name, words]) => html`
            <option key=${name} value=${name}>${words}</option>
          `)}
        </select>
      </label>
    </div>
    <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
    ${list.value && html`
      <${DataTable} label="Results by row" columns=${columns} items=${list.value.items}
        keyOf=${(/** @type {any} */ item) => item.index}
        empty=${outcome || severity || error ? "No row fits. Choose other outcomes or messages." : "No row has a result yet."} />
      <${Pager} pages=${pages} continuation=${list.value.continuation} label="Pages of results" />
    `}
  `;
}

/**
 * @param {string} type
 * @param {Record<string, any>} key
 * @returns {string} The page that shows what is stored with that key.
 */
function recordHash(type, key) {
  if (type === "documents") {
    return hashOf("/documents", {}, { worker: formatValue(key["workerexternalId"]), round: formatValue(key["communicationRoundCode"]) });
  }
  const filters = Object.fromEntries(Object.entries(key).map(([name, value]) => [name, formatValue(value)]));
  return hashOf("/records", {}, { ...filters, of: type === "authdata" ? "employees" : type, go: "1" });
}
