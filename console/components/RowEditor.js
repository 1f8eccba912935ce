import { formatValue } from "../formatting.js";
import { html, useMemo, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { leavesOf, valueAt } from "../rows.js";
import { MessageList } from "./MessageText.js";
import { Value } from "./Value.js";

/** The records of authentication data have another name than its import type. */
const RECORDS = /** @type {Record<string, string>} */ ({ authdata: "employees" });

/**
 * A failed row: what was sent, in cells that can be changed, beside what is stored.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, type: string, keyFields: string[], item: any,
 *   changes: Record<string, string>, onChange: (path: string, text: string | null) => void,
 *   isReadOnly?: boolean }} properties `changes` are the texts of changed cells by path.
 */
export function RowEditor({ gateway, type, keyFields, item, changes, onChange, isReadOnly = false }) {
  const [isWhole, setWhole] = useState(false);
  const [isCompared, setCompared] = useState(false);
  const key = keyFields.map((field) => /** @type {[string, any]} */ ([field, valueAt(item.row, field)]));
  const hasKey = key.length > 0 && key.every(([, value]) => value !== undefined && value !== null && value !== "");
  const sentKey = key.filter(([, value]) => value !== undefined);
  // The columns of a mapping profile have other names: what a file has first tells its rows apart.
  const named = sentKey.length > 0 || !item.row ? sentKey : leavesOf(item.row).slice(0, 3);
  const stored = useLoaded(
    async (signal) => {
      if (!isCompared) return undefined;
      const path = `/api/records/${encodeURIComponent(RECORDS[type] ?? type)}`;
      const filters = Object.fromEntries(key.map(([field, value]) => [field, formatValue(value)]));
      const page = await gateway.get(path, { ...filters, pageSize: 2 }, { signal, isExact: true });
      return page.items[0] ?? null;
    },
    [isCompared, JSON.stringify(key.map(([, value]) => formatValue(value)))],
  );
  const paths = useMemo(() => pathsOf(item, keyFields), [item, keyFields]);
  const shown = isWhole ? paths.all : paths.first;
  const hidden = paths.all.length - paths.first.length;
  const record = stored.value?.record;
  const title = `Row ${item.index + 1}`;

  return html`
    <article class="row-card" aria-label=${title}>
      <header>
        <h3>${title}</h3>
        <span class="faint">${item.line ? `line ${item.line} of the file` : ""}</span>
        <span>${named.map(([field, value]) => html`<span key=${field} class="key"><span class="faint">${field}</span> <${Value} value=${value} /></span> `)}</span>
      </header>
      <${MessageList} messages=${item.messages} />
      ${paths.all.length === 0
        ? html`<p class="faint">The gateway cannot read this row any more. Send it again from the file it came from.</p>`
        : html`
          <div class="cells">
            ${shown.map((path) => html`
              <div key=${path} class=${`cell ${paths.faulty.has(path) ? "faulty" : ""}`}>
                ${isReadOnly
                  ? html`<span class="cell-name"><${Value} value=${path} /></span><span><${Value} value=${valueAt(item.row, path)} /></span>`
                  : html`<${Cell} path=${path} rowTitle=${title} sent=${valueAt(item.row, path)} text=${Object.hasOwn(changes, path) ? changes[path] : undefined}
                      onChange=${(/** @type {string | null} */ text) => onChange(path, text)} />`}
                ${record && html`
                  <span class="cell-stored">stored: ${valueAt(record, path) === undefined ? html`<span class="faint">nothing</span>` : html`<${Value} value=${valueAt(record, path)} />`}</span>
                `}
              </div>
            `)}
          </div>
        `}
      <div class="row-actions">
        ${hidden > 0 && html`
          <button type="button" class="secondary small" aria-expanded=${isWhole ? "true" : "false"} onClick=${() => setWhole(!isWhole)}>
            ${isWhole ? "Fewer fields" : `All ${paths.all.length} fields`}
          </button>
        `}
        ${hasKey && !isCompared && html`
          <button type="button" class="secondary small" onClick=${() => setCompared(true)}>Compare with what is stored</button>
        `}
        ${isCompared && html`
          <span class="faint" role="status">
            ${stored.error ? stored.error.message
              : stored.isLoading ? "Reading the record…"
                : record ? "" : "No record of this key is stored."}
          </span>
        `}
      </div>
    </article>
  `;
}

/**
 * @param {any} item
 * @param {string[]} keyFields
 * @returns {{ all: string[], first: string[], faulty: Set<string> }} The paths of a failed row; `first`
 *   are those that its errors and warnings are about, `faulty` those of errors.
 */
function pathsOf(item, keyFields) {
  const sent = leavesOf(item.row).map(([path]) => path);
  const byName = new Map(sent.map((path) => [path.toLowerCase(), path]));
  /** @param {string} path */
  const asSent = (path) => byName.get(path.toLowerCase()) ?? path;
  /** @param {any[]} messages */
  const fieldsOf = (messages) => new Set(messages.filter((each) => each.fieldName).map((each) => asSent(each.sentAs ?? each.fieldName)));
  const faulty = fieldsOf(item.messages.filter((/** @type {any} */ message) => message.messageType === "Error"));
  if (sent.length === 0) return { all: [], first: [], faulty: new Set() };
  const named = [...faulty, ...fieldsOf(item.messages.filter((/** @type {any} */ message) => message.messageType === "Warning"))];
  // The key is in the heading already; it is a cell where nothing else says what to correct.
  // A message about an object or a list is about all its values.
  const first = [...new Set((named.length > 0 ? named : keyFields.map(asSent)).flatMap((path) => {
    const below = leavesBelow(sent, path);
    return below.length > 0 ? below : [path];
  }))];
  return { all: [...new Set([...first, ...sent])], first, faulty };
}

/**
 * @param {string[]} paths
 * @param {string} path
 */
function leavesBelow(paths, path) {
  return paths.filter((each) => each.startsWith(`${path}.`) || each.startsWith(`${path}[`));
}

/**
 * @param {{ path: string, rowTitle: string, sent: any, text: string | undefined,
 *   onChange: (text: string | null) => void }} properties `text` is what was typed; null gives the sent
 *   value back.
 */
function Cell({ path, rowTitle, sent, text, onChange }) {
  const before = sent === null ? "null" : formatValue(sent);
  const isChanged = text !== undefined;
  // An input of one line would drop the line breaks of the value.
  const field = /[\r\n]/.test(before) ? "textarea" : "input";
  return html`
    <label>
      <span class="cell-name"><${Value} value=${path} /><span class="only-read"> of ${rowTitle.toLowerCase()}</span></span>
      <${field} class=${isChanged ? "changed" : ""} value=${text ?? before} dir="auto"
        placeholder=${sent === undefined ? "not sent" : ""} autocomplete="off" spellcheck=${false}
        onInput=${(/** @type {any} */ event) => {
          const typed = event.currentTarget.value;
          onChange(typed === before ? null : typed);
        }} />
    </label>
    ${isChanged && html`<span class="faint">sent: ${before === "" ? "nothing" : html`<${Value} value=${before} />`}</span>`}
  `;
}
