import { DataTable } from "../components/DataTable.js";
import { LocalTime } from "../components/LocalTime.js";
import { ErrorNotice } from "../components/Notice.js";
import { Pager, usePages } from "../components/Pager.js";
import { Progress } from "../components/Progress.js";
import { StateLabel } from "../components/StateLabel.js";
import { Value } from "../components/Value.js";
import { formatCaller, formatCount } from "../formatting.js";
import { html, useEffect, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf, replaceQuery } from "../routes.js";

const RUNNING = ["Processing", "Accepted"];
const FAILED = "CompletedWithErrors";
const STATES = {
  Accepted: "waiting", Processing: "running", Completed: "completed", CompletedWithErrors: "rows failed",
  Repaired: "repaired", Cancelled: "cancelled",
};
const OF_GROUP = 20;
const OF_PAGE = 50;

/**
 * All imports: those that run and those with failed rows first.
 *
 * @param {import("../main.js").PageProperties} properties
 */
export function ImportsPage({ gateway, query }) {
  const { type = "", state = "", caller = "" } = query;
  const filters = { type, state, caller };
  const types = useLoaded((signal) => gateway.get("/api/capabilities", {}, { signal }), []);
  /** @type {string[]} */
  const names = [...new Set((types.value?.messageTypes ?? []).map((/** @type {any} */ each) => each.type))];

  return html`
    <h1>Imports</h1>
    <${Filters} filters=${filters} types=${names} />
    ${state === "" && html`
      <${RunningImports} gateway=${gateway} filters=${filters} />
      <${FailedImports} gateway=${gateway} filters=${filters} />
    `}
    <${AllImports} gateway=${gateway} filters=${filters} />
  `;
}

/**
 * @typedef {{ type: string, state: string, caller: string }} ImportFilters
 * @typedef {{ gateway: import("../gateway.js").Gateway, filters: ImportFilters }} ListProperties
 */

/** @param {{ filters: ImportFilters, types: string[] }} properties */
function Filters({ filters, types }) {
  const [caller, setCaller] = useState(filters.caller);
  useEffect(() => setCaller(filters.caller), [filters.caller]);
  /** @param {Partial<ImportFilters>} change */
  const set = (change) => replaceQuery({ ...filters, ...change });
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    set({ caller: caller.trim() });
  };
  const known = types.includes(filters.type) || filters.type === "" ? types : [filters.type, ...types];
  return html`
    <form class="filters" aria-label="Filter the imports" onSubmit=${submit}>
      <label>
        Type
        <select value=${filters.type} onChange=${(/** @type {any} */ event) => set({ type: event.currentTarget.value })}>
          <option value="">all</option>
          ${known.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select>
      </label>
      <label>
        State
        <select value=${filters.state} onChange=${(/** @type {any} */ event) => set({ state: event.currentTarget.value })}>
          <option value="">all</option>
          ${Object.entries(STATES).map(([name, words]) => html`<option key=${name} value=${name}>${words}</option>`)}
        </select>
      </label>
      <label>
        Sent by
        <input type="search" value=${caller} placeholder="software key or client"
          onInput=${(/** @type {any} */ event) => setCaller(event.currentTarget.value)}
          onChange=${() => set({ caller: caller.trim() })} />
      </label>
      ${(filters.type || filters.state || filters.caller) && html`
        <button type="button" class="secondary" onClick=${() => replaceQuery({})}>Clear the filters</button>
      `}
    </form>
  `;
}

/** @param {ListProperties} properties */
function RunningImports({ gateway, filters }) {
  const list = useLoaded(
    async (signal) => {
      const pages = await Promise.all(RUNNING.map((state) => gateway.get(
        "/api/imports", { ...filters, state, pageSize: OF_GROUP }, { signal },
      )));
      return pages.flatMap((page) => page.items);
    },
    [filters],
    (items) => (items?.length ? 2 : 10),
  );
  const columns = [
    nameColumn(),
    { key: "progress", title: "Progress", render: (/** @type {any} */ item) => html`
      <${Progress} label=${`Progress of ${item.source ?? item.type}`} done=${item.rows.done} total=${item.rows.total}
        rate=${item.rowsPerSecond} secondsLeft=${item.secondsLeft} />
    ` },
    failedColumn(),
    callerColumn(),
    acceptedColumn(),
  ];
  return html`
    <section aria-labelledby="running" aria-live="off">
      <h2 id="running">Running</h2>
      <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
      ${list.value && html`
        <${DataTable} label="Running imports" columns=${columns} items=${list.value} keyOf=${idOf} empty="No import is running." />
      `}
    </section>
  `;
}

/** @param {ListProperties} properties */
function FailedImports({ gateway, filters }) {
  const list = useLoaded(
    (signal) => gateway.get("/api/imports", { ...filters, state: FAILED, pageSize: OF_GROUP }, { signal }),
    [filters],
    15,
  );
  const items = list.value?.items ?? [];
  if (!list.error && items.length === 0) return null;
  return html`
    <section aria-labelledby="failed">
      <h2 id="failed">With failed rows</h2>
      <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
      <${DataTable} label="Imports with failed rows" columns=${COLUMNS} items=${items} keyOf=${idOf} />
      ${list.value?.continuation && items.length > 0 && html`
        <p><a href=${hashOf("/imports", {}, { ...filters, state: FAILED })}>All imports with failed rows</a></p>
      `}
    </section>
  `;
}

/** @param {ListProperties} properties */
function AllImports({ gateway, filters }) {
  const pages = usePages(JSON.stringify(filters));
  const list = useLoaded(
    (signal) => gateway.get(
      "/api/imports", { ...filters, pageSize: OF_PAGE, continuation: pages.continuation }, { signal },
    ),
    [filters, pages.continuation],
    5,
  );
  const isFiltered = Boolean(filters.type || filters.state || filters.caller);
  const empty = list.value?.continuation
    ? "No import among the newest ones fits the filters. Next looks among older ones."
    : isFiltered
      ? "No import fits the filters. Clear the filters to see all."
      : html`No import yet. <a href="#/upload">Upload a file</a>, or send rows to the gateway: its calls are on <a href="/api/docs">the page of the contract</a>.`;
  return html`
    <section aria-labelledby="all">
      <h2 id="all">${filters.state === "" ? "All, newest first" : "Newest first"}</h2>
      <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
      ${list.value && html`
        <${DataTable} label="Imports, newest first" columns=${COLUMNS} items=${list.value.items} keyOf=${idOf} empty=${empty} />
        <${Pager} pages=${pages} continuation=${list.value.continuation} label="Pages of imports" />
      `}
    </section>
  `;
}

/** @param {any} item */
function idOf(item) {
  return item.importId;
}

function nameColumn() {
  return { key: "name", title: "Import", isHeader: true, render: (/** @type {any} */ item) => html`
    <a href=${hashOf("/imports/{importId}", { importId: item.importId })}>
      ${item.source ? html`<${Value} value=${item.source} isShort />` : item.importId.slice(0, 8)}
    </a>
    <span class="faint"> ${item.type}${item.undoes ? ", undo" : item.parentId ? ", retry" : ""}${item.undoneBy ? ", undone" : ""}</span>
  ` };
}

function failedColumn() {
  return { key: "failed", title: "Failed", isNumber: true, render: (/** @type {any} */ item) => {
    const open = item.rows.failed - item.rows.repaired;
    return html`<span class=${open > 0 ? "bad" : ""} title=${item.rows.repaired ? `${formatCount(item.rows.failed)} failed, ${formatCount(item.rows.repaired)} repaired since` : ""}>${formatCount(open)}</span>`;
  } };
}

function callerColumn() {
  return { key: "caller", title: "Sent by", render: (/** @type {any} */ item) => html`<${Value} value=${formatCaller(item.caller)} />` };
}

function acceptedColumn() {
  return { key: "acceptedAt", title: "Accepted", render: (/** @type {any} */ item) => html`<${LocalTime} time=${item.acceptedAt} />` };
}

const COLUMNS = [
  nameColumn(),
  { key: "state", title: "State", render: (/** @type {any} */ item) => html`<${StateLabel} state=${item.state} />` },
  { key: "total", title: "Rows", isNumber: true, render: (/** @type {any} */ item) => formatCount(item.rows.total) },
  failedColumn(),
  callerColumn(),
  acceptedColumn(),
];
