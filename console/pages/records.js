/** @file Records: a person across all types, or the records of a type; what changed, and by whom. */

import { DataTable } from "../components/DataTable.js";
import { Facts } from "../components/Facts.js";
import { LocalTime } from "../components/LocalTime.js";
import { ErrorNotice, Notice } from "../components/Notice.js";
import { Pager, usePages } from "../components/Pager.js";
import { Value } from "../components/Value.js";
import { ExactNumber } from "../exact_numbers.js";
import { formatCaller } from "../formatting.js";
import { addressOf, GatewayError, isAborted } from "../gateway.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf, replaceQuery } from "../routes.js";
import { saveAs } from "../saving.js";

const PERSON = "person";
/** @type {Record<string, string[]>} What the gateway finds records by without a look at all of them. */
export const FILTERS = {
  workers: ["EmployerRef", "PersonnelRef", "ExternalWorkerRef"],
  assignments: ["EmployerRef", "AssignmentRef", "PersonnelRef"],
  timesheets: ["EmployerRef", "TimesheetNumber", "PersonnelRef", "AssignmentRef"],
  placements: ["EmployerRef", "PlacementRef", "PersonnelRef"],
  licenses: ["companyCode", "licenseKey", "employeeNumber", "employeePersonalId"],
  employees: ["employeeId"],
};
/** @type {Record<string, string[]>} What names a record of the type. */
const KEYS = {
  workers: ["EmployerRef", "PersonnelRef"],
  assignments: ["EmployerRef", "AssignmentRef"],
  timesheets: ["EmployerRef", "TimesheetNumber"],
  placements: ["EmployerRef", "PlacementRef"],
  licenses: ["companyCode", "licenseKey"],
  employees: ["employeeId"],
};
/** @type {Record<string, string[]>} What a reader knows a record by, beside its key. */
const SUMMARIES = {
  workers: ["FirstForename", "Surname", "ExternalWorkerRef"],
  assignments: ["PersonnelRef", "ClientRef", "JobTitle", "StartDate"],
  timesheets: ["PersonnelRef", "AssignmentRef"],
  placements: ["PersonnelRef", "ClientRef", "JobTitle"],
  licenses: ["employeeNumber", "licenseTypeCode", "licenseNumber", "expirationDate"],
  employees: ["employeeStatus"],
};

/** @param {import("../main.js").PageProperties} properties */
export function RecordsPage({ gateway, query }) {
  const of = query["of"] ?? PERSON;
  const type = Object.hasOwn(FILTERS, of) ? of : PERSON;
  const searched = JSON.stringify(query);
  return html`
    <h1>Records</h1>
    <${SearchForm} key=${type} type=${type} query=${query} />
    ${type === PERSON
      ? query["person"] && html`<${PersonSearch} key=${searched} gateway=${gateway} person=${query["person"]} group=${query["group"] ?? ""} />`
      : query["go"] && html`<${TypeSearch} key=${searched} gateway=${gateway} type=${type} filters=${filtersOf(type, query)} />`}
  `;
}

/**
 * @param {string} type
 * @param {Record<string, string>} query
 * @returns {Record<string, string>} The filters of a search, by the names of the gateway.
 */
function filtersOf(type, query) {
  const names = [...(FILTERS[type] ?? []), "importId", "deleted"];
  return Object.fromEntries(names.flatMap((name) => (query[name] ? [[name, query[name]]] : [])));
}

/** @param {{ type: string, query: Record<string, string> }} properties */
function SearchForm({ type, query }) {
  /** @param {SubmitEvent} event */
  const search = (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    /** @type {Record<string, string>} */
    const next = { of: type };
    for (const [name, value] of form) next[name] = String(value).trim();
    replaceQuery(type === PERSON ? next : { ...next, go: "1" });
  };
  const names = FILTERS[type] ?? [];
  return html`
    <form class="search" onSubmit=${search}>
      <div class="fields">
        <label>
          Search
          <select value=${type} onChange=${(/** @type {any} */ event) => replaceQuery({ of: event.currentTarget.value })}>
            <option value=${PERSON}>a person, in all types</option>
            ${Object.keys(FILTERS).map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
          </select>
        </label>
        ${type === PERSON && html`
          <label>
            Reference of the person
            <input name="person" required maxlength="200" spellcheck=${false} defaultValue=${query["person"] ?? ""} />
          </label>
          <label>
            Employer or company (optional)
            <input name="group" maxlength="200" spellcheck=${false} defaultValue=${query["group"] ?? ""} />
          </label>
        `}
        ${names.map((name) => html`
          <label key=${name}>
            ${name}
            <input name=${name} maxlength="200" spellcheck=${false} defaultValue=${query[name] ?? ""} />
          </label>
        `)}
        ${type !== PERSON && html`
          <label>
            importId
            <input name="importId" maxlength="60" spellcheck=${false} defaultValue=${query["importId"] ?? ""} />
          </label>
          <label class="check">
            <input type="checkbox" name="deleted" value="true" defaultChecked=${query["deleted"] === "true"} /> deleted records
          </label>
        `}
        <button type="submit" class="search-button">Search</button>
      </div>
    </form>
  `;
}

/**
 * The searches for a person, one for each type that can be asked. Those that need an employer are
 * made for the employers of the workers that were found.
 *
 * @param {import("../gateway.js").Gateway} gateway
 * @param {string} person
 * @param {string} group
 * @param {AbortSignal} signal
 */
async function findPerson(gateway, person, group, signal) {
  /** @type {Map<string, { type: string, item: any }>} */
  const found = new Map();
  /** @type {{ type: string, error: any }[]} */
  const failures = [];
  /** @type {Set<string>} */
  const cut = new Set();
  /**
   * @param {string} type
   * @param {Record<string, string>} filters
   */
  const ask = async (type, filters) => {
    try {
      const page = await gateway.get(`/api/records/${type}`, { ...filters, pageSize: 50 }, { signal, isExact: true });
      for (const item of page.items) found.set(`${type} ${keyText(type, item)}`, { type, item });
      if (page.continuation) cut.add(type);
    } catch (error) {
      if (isAborted(error)) throw error;
      if (!failures.some((each) => each.type === type)) failures.push({ type, error });
    }
  };
  /** @type {Record<string, string>} */
  const ofGroup = group ? { EmployerRef: group } : {};
  await Promise.all([
    ask("workers", { ...ofGroup, PersonnelRef: person }),
    ask("workers", { ...ofGroup, ExternalWorkerRef: person }),
    ask("employees", { employeeId: person }),
    ...(group ? [ask("licenses", { companyCode: group, employeeNumber: person })] : []),
  ]);
  const workers = [...found.values()].filter(({ type, item }) => type === "workers" && item.record);
  const pairs = new Map(workers.map(({ item }) => [keyText("workers", item), item.record]));
  await Promise.all([...pairs.values()].slice(0, 20).flatMap((record) =>
    ["assignments", "timesheets", "placements"].map((type) =>
      ask(type, { EmployerRef: String(record.EmployerRef), PersonnelRef: String(record.PersonnelRef) }))));
  return { found: [...found.values()], failures, cut: [...cut] };
}

/**
 * @param {string} type
 * @param {any} item
 * @returns {string}
 */
function keyText(type, item) {
  const named = item.key ?? item.record ?? {};
  const names = KEYS[type] ?? Object.keys(item.key ?? {});
  const values = names.map((name) => named[name] ?? Object.entries(named)
    .find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1]);
  return values.filter((value) => value !== undefined && value !== null).map(String).join(" · ");
}

/** @param {{ gateway: import("../gateway.js").Gateway, person: string, group: string }} properties */
function PersonSearch({ gateway, person, group }) {
  const search = useLoaded((signal) => findPerson(gateway, person, group, signal), [person, group]);
  const result = search.value;
  const types = Object.keys(FILTERS).filter((type) => result?.found.some((each) => each.type === type));
  const [refused] = result?.failures ?? [];
  return html`
    ${search.isLoading && !result && html`<p aria-busy="true">Searching</p>`}
    <${ErrorNotice} error=${search.error} onRetry=${search.reload} />
    ${refused && html`<${ErrorNotice} error=${refused.error} onRetry=${search.reload}
      title=${`Not searched: ${result?.failures.map((each) => each.type).join(", ")}`} />`}
    ${result && types.length === 0 && !refused && html`
      <p class="empty">
        No record has the reference <${Value} value=${person} />${group && html` at <${Value} value=${group} />`}. References are compared as they
        were sent: 007 is not 7. Licenses are searched where the company is given.
      </p>
    `}
    ${types.map((type) => html`
      <section key=${type} aria-label=${type}>
        <h2>${type}</h2>
        <${RecordList} gateway=${gateway} type=${type}
          items=${result?.found.filter((each) => each.type === type).map((each) => each.item) ?? []} />
        ${result?.cut.includes(type) && html`
          <p class="faint">There are more: search in ${type} to see them all.</p>
        `}
      </section>
    `)}
    ${result && types.length > 0 && html`
      <p><a href=${hashOf("/documents", {}, { worker: person })}>Documents of <${Value} value=${person} isShort /></a></p>
    `}
  `;
}

/**
 * @param {{ gateway: import("../gateway.js").Gateway, type: string, filters: Record<string, string> }} properties
 */
function TypeSearch({ gateway, type, filters }) {
  const pages = usePages("");
  const path = `/api/records/${type}`;
  const list = useLoaded(
    (signal) => gateway.get(path, { ...filters, pageSize: 50, continuation: pages.continuation }, { signal, isExact: true }),
    [pages.continuation],
  );
  return html`
    ${list.isLoading && !list.value && html`<p aria-busy="true">Searching</p>`}
    <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
    ${list.value && html`
      <${RecordList} gateway=${gateway} type=${type} items=${list.value.items}
        empty=${list.value.continuation
          ? "No record on this page. The next one may have some."
          : "No record has these values. References are compared as they were sent: 007 is not 7."} />
      <${Pager} pages=${pages} continuation=${list.value.continuation} label=${`Pages of ${type}`} />
      <${Exporting} gateway=${gateway} type=${type} filters=${filters} />
    `}
  `;
}

/**
 * Records with a button that opens each.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, type: string, items: any[], empty?: string }} properties
 */
function RecordList({ gateway, type, items, empty = "" }) {
  const [chosen, setChosen] = useState("");
  const open = items.find((item) => keyText(type, item) === chosen);
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    {
      key: "key", title: (KEYS[type] ?? []).join(" · "), isHeader: true,
      render: (item) => {
        const name = keyText(type, item) || "unnamed";
        const isOpen = name === chosen;
        return html`
          <button type="button" class="link" aria-expanded=${isOpen ? "true" : "false"}
            onClick=${() => setChosen(isOpen ? "" : name)}><${Value} value=${name} isShort /></button>`;
      },
    },
    ...(SUMMARIES[type] ?? []).map((name) => ({
      key: name, title: name,
      render: (/** @type {any} */ item) => html`<${Value} value=${(item.record ?? item.previous)?.[name] ?? ""} />`,
    })),
    { key: "changed", title: "Changed", render: (item) => html`<${LocalTime} time=${item.changedAt} empty="unknown" />` },
    {
      key: "state", title: "State", render: (item) => html`
        ${item.deleted && html`<span class="label label-warning">deleted</span>`}
        ${item.unreadable === true && html`<span class="label label-bad">unreadable</span>`}
      `,
    },
  ];
  return html`
    <${DataTable} label=${`Records: ${type}`} columns=${columns} items=${items} empty=${empty}
      keyOf=${(/** @type {any} */ item) => keyText(type, item)}
      rowClass=${(/** @type {any} */ item) => (item === open ? "chosen" : "")} />
    ${open && html`<${RecordView} key=${chosen} gateway=${gateway} type=${type} name=${chosen} item=${open} />`}
  `;
}

/**
 * The fields of a record, each with its former value where the last import changed it.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, type: string, name: string, item: any }} properties
 */
function RecordView({ gateway, type, name, item }) {
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => heading.current?.scrollIntoView({ block: "nearest" }), []);
  const now = fieldsOf(item.record ?? {});
  const before = fieldsOf(item.previous ?? {});
  const masked = new Set(item.masked ?? []);
  const unreadable = Array.isArray(item.unreadable) ? item.unreadable : [];
  const paths = [...new Set([...Object.keys(now), ...Object.keys(before), ...unreadable])];
  const hasBefore = Object.keys(before).length > 0;
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    { key: "path", title: "Field", isHeader: true, render: ({ path }) => html`<${Value} value=${path} />` },
    {
      key: "value", title: "Value", render: ({ path }) => html`
        <${Value} value=${now[path] ?? ""} />
        ${masked.has(path) && html` <span class="label label-plain" title="You may not read the whole value">masked</span>`}
        ${unreadable.includes(path) && html` <span class="label label-bad">unreadable</span>`}
      `,
    },
    ...(hasBefore ? [{
      key: "before", title: "Before the last change",
      render: (/** @type {any} */ { path }) => (path in before
        ? before[path] === null ? html`<span class="faint">(empty)</span>` : html`<del><${Value} value=${before[path]} /></del>`
        : ""),
    }] : []),
  ];
  return html`
    <section class="record" aria-label=${`Record ${name}`}>
      <h3 ref=${heading}>${type}: ${name}</h3>
      <${Facts} facts=${[
        ["Changed", html`<${LocalTime} time=${item.changedAt} empty="unknown" />`],
        ["Changed by", html`<${ChangedBy} gateway=${gateway} importId=${item.changedBy} />`],
        ["Created", html`<${LocalTime} time=${item.createdAt} empty="unknown" />`],
        ["Created by", item.createdBy !== item.changedBy && html`<${ChangedBy} gateway=${gateway} importId=${item.createdBy} />`],
        ["Authentication values", item.authValues && item.authValues.join(", ")],
      ]} />
      ${item.deleted && html`<${Notice} kind="warning" title="This record is deleted">The values are those before it was deleted, while they are kept.<//>`}
      ${item.unreadable === true && html`<${Notice} kind="error" title="What is stored cannot be read">Ask the operator of the gateway to run manage.py records check.<//>`}
      <${DataTable} label=${`Fields of ${name}`} columns=${columns} items=${paths.map((path) => ({ path }))}
        keyOf=${(/** @type {any} */ field) => field.path} empty="No field is kept."
        rowClass=${(/** @type {any} */ field) => (field.path in before ? "changed" : "")} />
    </section>
  `;
}

/**
 * The sender of an import, with a link to it.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string | null | undefined }} properties
 */
function ChangedBy({ gateway, importId }) {
  const path = `/api/imports/${encodeURIComponent(importId ?? "")}`;
  const shown = useLoaded(
    async (signal) => {
      if (!importId) return null;
      try {
        return await gateway.get(path, {}, { signal });
      } catch (error) {
        // It has expired, or it is of a type whose imports the caller does not see.
        if (error instanceof GatewayError) return null;
        throw error;
      }
    },
    [path],
  );
  if (!importId) return html`<span>unknown</span>`;
  if (!shown.value) return html`<span title=${importId}>${shown.isLoading ? "…" : `import ${importId}, which is not shown any more`}</span>`;
  return html`
    <a href=${hashOf("/imports/{importId}", { importId })}><${Value} value=${formatCaller(shown.value.caller)} isShort /></a>
    ${shown.value.source && html`<span class="faint"> (<${Value} value=${shown.value.source} isShort />)</span>`}
  `;
}

/**
 * The values of a record by their paths, as messages name them.
 *
 * @param {any} value
 * @param {string} [path]
 * @param {Record<string, any>} [into]
 * @returns {Record<string, any>}
 */
export function fieldsOf(value, path = "", into = Object.create(null)) {
  const isList = Array.isArray(value);
  const isObject = typeof value === "object" && value !== null && !(value instanceof ExactNumber);
  if (!isObject || Object.keys(value).length === 0) {
    if (path) into[path] = isObject ? (isList ? "[]" : "{}") : value;
    return into;
  }
  for (const [name, inner] of Object.entries(value)) {
    fieldsOf(inner, isList ? `${path}[${name}]` : path ? `${path}.${name}` : name, into);
  }
  return into;
}

/**
 * Downloads of what a search finds. NDJSON is one file; CSV has a file for each 10,000 records,
 * since each has the columns that its records need.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, type: string, filters: Record<string, string> }} properties
 */
function Exporting({ gateway, type, filters }) {
  const [work, setWork] = useState("");
  const [error, setError] = useState(/** @type {any} */ (null));
  const [following, setFollowing] = useState({ path: "", part: 1 });
  const start = addressOf(`/api/records/${type}`, { ...filters, pageSize: 10_000 });

  /**
   * @param {string} name
   * @param {() => Promise<void>} act
   */
  const run = async (name, act) => {
    setWork(name);
    setError(null);
    try {
      await act();
    } catch (failure) {
      if (!isAborted(failure)) setError(failure);
    }
    setWork("");
  };
  const ndjson = () => run("ndjson", async () => {
    /** @type {Blob[]} */
    const parts = [];
    for (let path = start; path;) {
      const { blob, headers } = await gateway.download(path, "application/x-ndjson");
      parts.push(blob);
      path = nextOf(headers);
    }
    saveAs(new Blob(parts, { type: "application/x-ndjson" }), `${type}.ndjson`);
  });
  /**
   * @param {string} path
   * @param {number} part
   */
  const csv = (path, part) => run("csv", async () => {
    const { blob, headers } = await gateway.download(path, "text/csv");
    const next = nextOf(headers);
    saveAs(blob, next || part > 1 ? `${type}-${part}.csv` : `${type}.csv`);
    setFollowing({ path: next, part: part + 1 });
  });
  return html`
    <section aria-label="Export">
      <h2>Export</h2>
      <div class="actions">
        <button type="button" class="secondary" disabled=${work !== ""} aria-busy=${work === "csv" ? "true" : "false"}
          onClick=${() => csv(start, 1)}>Download CSV</button>
        <button type="button" class="secondary" disabled=${work !== ""} aria-busy=${work === "ndjson" ? "true" : "false"}
          onClick=${ndjson}>Download NDJSON</button>
        ${following.path && html`
          <button type="button" class="secondary" disabled=${work !== ""}
            onClick=${() => csv(following.path, following.part)}>
            Download part ${following.part} of the CSV
          </button>
        `}
        <span class="faint">All records that the search finds. A file can be imported again as it is, unless values in it are masked.</span>
      </div>
      <${ErrorNotice} error=${error} title="The export stopped" />
    </section>
  `;
}

/**
 * @param {Headers} headers
 * @returns {string} The address of the next page, "" behind the last one.
 */
function nextOf(headers) {
  return /<(\/[^>]*)>;\s*rel="next"/.exec(headers.get("Link") ?? "")?.[1] ?? "";
}
