/** @file Upload: choose a file, see what it would change, import it and follow the import. */

import { Changes } from "../components/Changes.js";
import { FileDrop } from "../components/FileDrop.js";
import { MessageList } from "../components/MessageText.js";
import { ErrorNotice, Notice } from "../components/Notice.js";
import { PagedTable } from "../components/PagedTable.js";
import { Progress } from "../components/Progress.js";
import { StateLabel } from "../components/StateLabel.js";
import { Value } from "../components/Value.js";
import { disposition, isReadable, kindOfFile, newIdempotencyKey, ROW_FILES } from "../files.js";
import { countOf, formatBytes, formatCount } from "../formatting.js";
import { addressOf, GatewayError, isAborted } from "../gateway.js";
import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf, replaceQuery } from "../routes.js";

/**
 * @typedef {object} RowType A type of rows in one version.
 * @property {string} name `workers`, or `timesheets.v2`.
 * @property {string} type
 * @property {string} path
 * @property {Record<string, string>} query What the version adds to the query.
 * @property {string[]} templates
 * @property {string[]} sends
 */

const AUTHDATA = "authdata";
const LICENSES = "licenses";
const ACTIONS = ["Override", "Insert", "Update", "Merge", "Replace"];
const OUTCOMES = ["failed", "new", "updated", "unchanged"];
// In place of the id of an import: a file without rows makes none.
const NO_ROWS = "none";
const ENDED = ["Completed", "CompletedWithErrors", "Repaired", "Cancelled"];

/** @param {import("../main.js").PageProperties} properties */
export function UploadPage({ gateway, query }) {
  const known = useLoaded((signal) => gateway.get("/api/capabilities", {}, { signal }), []);
  const types = useMemo(() => rowTypes(known.value, gateway.scopes), [known.value]);
  return html`
    <h1>Upload</h1>
    <${ErrorNotice} error=${known.error} onRetry=${known.reload} />
    ${known.value && types.length === 0 && html`
      <${Notice} kind="warning" title="You may not send rows">
        Sign in with the key pair of an integration, or with a client that has the scope
        import_authdata.
      <//>
    `}
    ${known.value && types.length > 0 && html`
      <${UploadForm} gateway=${gateway} types=${types} limits=${known.value.limits} query=${query} />
    `}
  `;
}

/**
 * The types whose rows the caller may send.
 *
 * @param {any} capabilities
 * @param {string[] | null} scopes Of a token, which Pay & Bill and licenses do not take.
 * @returns {RowType[]}
 */
export function rowTypes(capabilities, scopes) {
  /** @type {RowType[]} */
  const types = [];
  for (const each of capabilities?.messageTypes ?? []) {
    const [call] = each.calls;
    const isAllowed = scopes === null || (each.type === AUTHDATA && scopes.includes("import_authdata"));
    if (!call || each.templates.length === 0 || !isAllowed) continue;
    const isFirst = !types.some((other) => other.type === each.type);
    types.push({
      name: isFirst ? each.type : `${each.type}.v${each.version}`,
      type: each.type,
      // Authentication data is staged, to be reviewed as a batch.
      path: each.type === AUTHDATA ? `${call.path}/stage` : call.path,
      query: isFirst ? {} : { version: String(each.version) },
      templates: each.templates,
      sends: call.sends,
    });
  }
  return types;
}

/**
 * @param {{ gateway: import("../gateway.js").Gateway, types: RowType[], limits: any,
 *   query: Record<string, string> }} properties
 */
function UploadForm({ gateway, types, limits, query }) {
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [profile, setProfile] = useState(query["profile"] ?? "");
  const [sheet, setSheet] = useState("");
  const [charset, setCharset] = useState("");
  const [action, setAction] = useState("Override");
  const [isWithoutValues, setWithoutValues] = useState(false);
  const type = /** @type {RowType} */ (types.find(({ name }) => name === query["type"]) ?? types[0]);
  const profiles = useLoaded((signal) => listProfiles(gateway, signal), []);
  const kind = file && kindOfFile(file.name);
  const fault = file && faultOf(file, type, limits);

  const isListed = profiles.value !== null && !profiles.error;
  const names = (profiles.value ?? []).filter((/** @type {any} */ each) => each.type === type.type);
  // A profile of another type stays chosen in the form, for when that type comes back.
  const ofType = !isListed || names.some(({ name }) => name === profile) ? profile : "";
  const options = {
    ...type.query,
    ...(type.type !== AUTHDATA && ofType ? { profile: ofType } : {}),
    ...(kind?.name === "spreadsheet" && sheet ? { sheet } : {}),
    ...(type.type === LICENSES ? { importAction: action } : {}),
    ...(type.type === AUTHDATA && isWithoutValues && kind?.name !== "JSON" ? { allowNoAuth: "true" } : {}),
  };
  const identity = JSON.stringify([type.name, options, charset, file?.name, file?.size, file?.lastModified]);
  /** @param {string} name */
  const choose = (name) => replaceQuery({ ...query, type: name });

  return html`
    <form class="upload" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <div class="fields">
        <label>
          Type of the rows
          <select value=${type.name} onChange=${(/** @type {any} */ event) => choose(event.currentTarget.value)}>
            ${types.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
          </select>
        </label>
        ${type.type !== AUTHDATA && (isListed
          ? html`
            <label>
              Mapping profile
              <select value=${ofType} onChange=${(/** @type {any} */ event) => setProfile(event.currentTarget.value)}>
                <option value="">none: the columns are fields</option>
                ${names.map((/** @type {any} */ each) => html`<option key=${each.name} value=${each.name}>${each.name} (version ${each.version})</option>`)}
              </select>
            </label>`
          : html`
            <label>
              Mapping profile
              <input value=${profile} maxlength="40" spellcheck=${false} placeholder="none: the columns are fields"
                onInput=${(/** @type {any} */ event) => setProfile(event.currentTarget.value.trim())} />
            </label>`)}
        ${type.type === LICENSES && html`
          <label>
            Import action
            <select value=${action} onChange=${(/** @type {any} */ event) => setAction(event.currentTarget.value)}>
              ${ACTIONS.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
            </select>
          </label>
        `}
        ${kind?.name === "spreadsheet" && html`
          <label>
            Sheet
            <input value=${sheet} spellcheck=${false} placeholder="the first visible one"
              onInput=${(/** @type {any} */ event) => setSheet(event.currentTarget.value)} />
          </label>
        `}
        ${kind?.isText && html`
          <label>
            Characters
            <select value=${charset} onChange=${(/** @type {any} */ event) => setCharset(event.currentTarget.value)}>
              <option value="">UTF-8 or UTF-16</option>
              <option value="windows-1252">Windows (Western Europe)</option>
              <option value="iso-8859-15">ISO 8859-15</option>
            </select>
          </label>
        `}
      </div>
      ${type.type === AUTHDATA && html`
        <label>
          <input type="checkbox" checked=${isWithoutValues} onChange=${(/** @type {any} */ event) => setWithoutValues(event.currentTarget.checked)} />
          A record may have no authentication value
        </label>
      `}
      <${FileDrop} label="File" accept=${ROW_FILES} file=${file} onFile=${setFile}
        hint="CSV, XLSX, NDJSON or JSON, also compressed with gzip." />
      <p class="faint">
        A file to fill in:
        ${type.templates.map((path) => html` <a key=${path} href=${path} download>${path.slice(path.lastIndexOf("/") + 1)}</a>`)}
      </p>
      ${fault && html`<${Notice} kind="error" title="This file cannot be sent">${fault}<//>`}
    </form>
    ${file && kind && !fault && html`
      <${Sending} key=${identity} gateway=${gateway} type=${type} options=${options} file=${file}
        kind=${kind} charset=${charset} limits=${limits} />
    `}
  `;
}

/**
 * @param {import("../gateway.js").Gateway} gateway
 * @param {AbortSignal} signal
 * @returns {Promise<any[] | null>} Null where the caller may not list them.
 */
async function listProfiles(gateway, signal) {
  try {
    return (await gateway.get("/api/admin/profiles", {}, { signal })).profiles;
  } catch (error) {
    if (error instanceof GatewayError) return null;
    throw error;
  }
}

/**
 * @param {File} file
 * @param {RowType} type
 * @param {any} limits
 * @returns {string} Why the gateway would refuse the file; "" where that is not known.
 */
function faultOf(file, type, limits) {
  const kind = kindOfFile(file.name);
  if (!kind) return "Its ending is none that the gateway reads. Save it as CSV, XLSX, NDJSON or JSON.";
  if (kind.name === "XML" && !type.sends.includes(kind.contentType)) {
    return `Rows of ${type.type} are not read from XML. Save it as CSV, XLSX, NDJSON or JSON.`;
  }
  if (file.size === 0) return "It is empty. Choose a file with rows.";
  if (file.size > limits.bodyBytes) {
    return `It has ${formatBytes(file.size)}, and a file may have ${formatBytes(limits.bodyBytes)}. `
      + "Compress it with gzip, or send it with manage.py import, which sends it in parts.";
  }
  return "";
}

/**
 * The dry run and the import of one file with one choice of options.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, type: RowType, options: Record<string, string>,
 *   file: File, kind: import("../files.js").FileKind, charset: string, limits: any }} properties
 */
function Sending({ gateway, type, options, file, kind, charset, limits }) {
  const [judged, setJudged] = useState(/** @type {any[] | null} */ (null));
  const [work, setWork] = useState(/** @type {"" | "dry run" | "import"} */ (""));
  const [sent, setSent] = useState(0);
  const [failure, setFailure] = useState(/** @type {{ of: string, error: any } | null} */ (null));
  const [importId, setImportId] = useState("");
  const [batch, setBatch] = useState(/** @type {any} */ (null));
  // The same for every attempt to send this file, so that it is imported once.
  const key = useRef("");
  key.current ||= newIdempotencyKey();
  const left = useRef(new AbortController());
  useEffect(() => () => left.current.abort(), []);
  const isStaged = type.type === AUTHDATA;
  const verb = isStaged ? "Stage" : "Import";

  /** @param {"dry run" | "import"} wanted */
  const send = async (wanted) => {
    setWork(wanted);
    setFailure(null);
    setSent(0);
    try {
      if (!(await isReadable(file))) {
        throw new GatewayError(0, "The file was changed or removed after it was chosen. Choose it again.");
      }
      const isDry = wanted === "dry run";
      const answer = await gateway.send(
        "POST",
        addressOf(type.path, isDry ? { ...options, dryRun: "true", view: "rows" } : options),
        file,
        {
          "Content-Type": kind.isText && charset ? `${kind.contentType}; charset=${charset}` : kind.contentType,
          "Content-Disposition": disposition(file.name),
          ...(kind.isCompressed ? { "Content-Encoding": "gzip" } : {}),
          ...(isDry ? {} : { "Idempotency-Key": key.current }),
          ...(isDry || isStaged ? {} : { Prefer: "respond-async" }),
        },
        // The values of a dry run are shown with all digits.
        { onProgress: setSent, signal: left.current.signal, isExact: isDry },
      );
      // The rows come in the order in which the gateway processes them.
      if (isDry) setJudged(answer.body.items.toSorted((/** @type {any} */ one, /** @type {any} */ other) => one.index - other.index));
      else if (isStaged) setBatch(answer.body);
      else setImportId(answer.headers.get("X-Import-Id") ?? NO_ROWS);
    } catch (error) {
      if (isAborted(error)) return;
      setFailure({ of: wanted, error });
    }
    setWork("");
  };

  const isDone = importId !== "" || batch !== null;
  const isSending = work !== "" && sent < file.size;
  const isLost = failure?.of === "import" && (failure.error.status === 0 || failure.error.status >= 500);
  return html`
    <div class="actions">
      <button type="button" disabled=${work !== "" || isDone} aria-busy=${work === "dry run" ? "true" : "false"}
        class=${judged ? "secondary" : ""} onClick=${() => send("dry run")}>
        Try it first
      </button>
      <button type="button" disabled=${work !== "" || isDone} aria-busy=${work === "import" ? "true" : "false"}
        class=${judged ? "" : "secondary"} onClick=${() => send("import")}>
        ${isLost ? `${verb} again` : verb}
      </button>
      <span class="faint">Trying stores nothing. It takes up to ${countOf(limits.dryRunRows, "row")}.</span>
    </div>
    ${work !== "" && html`
      <div class="progress" role="status">
        <progress aria-label=${`Sending ${file.name}`} max=${file.size} value=${isSending ? sent : undefined}></progress>
        <span class="progress-words">
          ${isSending ? `${formatBytes(sent)} of ${formatBytes(file.size)} sent` : `Sent. The gateway reads the rows (${work}).`}
        </span>
      </div>
    `}
    ${failure && html`
      <${ErrorNotice} error=${failure.error} title=${failure.of !== "import" ? "The dry run did not work" : isLost ? "Nothing is known to be imported" : "The file was not imported"} />
      ${isLost && html`
        <p>
          The gateway may have the file all the same. Send it again with the button above: it is imported
          once, however often it is sent from here.
        </p>
      `}
    `}
    ${batch && html`
      <${Notice} kind=${batch.thresholdExceptions.length > 0 ? "warning" : "success"}
        title=${batch.thresholdExceptions.length > 0 ? "A threshold has cancelled the batch" : "The records are staged"}>
        ${batch.thresholdExceptions.map((/** @type {string} */ text) => html`<p key=${text}>${text}</p>`)}
        ${countOf(batch.totalRecords, "record")}, ${formatCount(batch.totalErrors)} with errors. No employee has changed yet:
        ${" "}<a href=${hashOf("/batches", {}, { batch: batch.fileLogId })}>review the batch</a>
      <//>
    `}
    ${importId === NO_ROWS && html`<${Notice} kind="warning" title="Nothing was imported">The file has no rows.<//>`}
    ${importId && importId !== NO_ROWS && html`<${Following} gateway=${gateway} importId=${importId} />`}
    ${judged && html`<${Judgement} items=${judged} />`}
  `;
}

/**
 * What a dry run says of each row.
 *
 * @param {{ items: any[] }} properties
 */
function Judgement({ items }) {
  const counts = useMemo(() => {
    /** @type {Record<string, number>} */
    const found = Object.fromEntries(OUTCOMES.map((name) => [name, 0]));
    for (const { outcome } of items) found[outcome] = (found[outcome] ?? 0) + 1;
    return found;
  }, [items]);
  const [chosen, setChosen] = useState("");
  const outcome = chosen || OUTCOMES.find((name) => counts[name]) || "";
  const shown = useMemo(() => items.filter((item) => item.outcome === outcome), [items, outcome]);
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    { key: "index", title: "Row", isNumber: true, render: (item) => formatCount(item.index + 1) },
    { key: "key", title: "Record", isHeader: true, render: (item) => html`<${Value} value=${Object.values(item.key).join(" · ")} />` },
    { key: "changes", title: "What would change", render: (item) => html`<${Changes} changes=${item.changes} />` },
    { key: "messages", title: "Messages", render: (item) => html`<${MessageList} messages=${item.messages} />` },
  ];
  return html`
    <section aria-label="Dry run">
      <h2>What the file would do</h2>
      <div class="choices" role="group" aria-label="Outcome of the rows">
        ${OUTCOMES.map((name) => html`
          <button key=${name} type="button" class="secondary small" aria-pressed=${name === outcome ? "true" : "false"}
            disabled=${!counts[name]} onClick=${() => setChosen(name)}>
            ${name} ${formatCount(counts[name] ?? 0)}
          </button>
        `)}
      </div>
      <${PagedTable} label="Rows of the dry run" columns=${outcome === "failed" ? columns.filter(({ key }) => key !== "changes") : columns} items=${shown} pageOf=${outcome}
        keyOf=${(/** @type {any} */ item) => item.index} empty="The file has no rows." />
    </section>
  `;
}

/**
 * The import of the file until it has ended.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string }} properties
 */
function Following({ gateway, importId }) {
  const path = `/api/imports/${encodeURIComponent(importId)}`;
  const followed = useLoaded(
    (signal) => gateway.get(path, {}, { signal }),
    [path],
    (value) => (value && ENDED.includes(value.state) ? null : 1),
  );
  const shown = followed.value;
  const hasEnded = shown && ENDED.includes(shown.state);
  const isWell = hasEnded && shown.state === "Completed";
  return html`
    <section aria-label="Import">
      <h2>The import</h2>
      <${ErrorNotice} error=${followed.error} onRetry=${followed.reload} />
      ${shown && !hasEnded && html`
        <${Progress} label="Rows done" done=${shown.rows.done} total=${shown.rows.total}
          rate=${shown.rowsPerSecond} secondsLeft=${shown.secondsLeft} />
      `}
      ${hasEnded && html`
        <${Notice} kind=${isWell ? "success" : "warning"} title=${isWell ? "All rows are in" : "Not all rows are in"}>
          <p>
            <${StateLabel} state=${shown.state} />${" "}
            ${formatCount(shown.rows.new)} new, ${formatCount(shown.rows.updated)} updated,
            ${" "}${formatCount(shown.rows.unchanged)} unchanged, ${formatCount(shown.rows.failed)} failed.
          </p>
        <//>
        ${shown.profile && shown.rows.failed > 0 && html`<${Unmapped} gateway=${gateway} path=${path} profile=${shown.profile} />`}
      `}
      <p><a href=${hashOf("/imports/{importId}", { importId })}>Open the import</a></p>
    </section>
  `;
}

/**
 * The values of the file that the mapping profile has no entry for.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, path: string, profile: any }} properties
 */
function Unmapped({ gateway, path, profile }) {
  const list = useLoaded((signal) => gateway.get(`${path}/unmapped`, {}, { signal }), [path]);
  if (!list.value || list.value.items.length === 0) {
    return html`<${ErrorNotice} error=${list.error} onRetry=${list.reload} />`;
  }
  const columns = [
    { key: "fieldName", title: "Field", isHeader: true },
    { key: "sentAs", title: "Column", render: (/** @type {any} */ item) => html`<${Value} value=${item.sentAs ?? ""} />` },
    { key: "value", title: "Value", render: (/** @type {any} */ item) => html`<${Value} value=${item.value} />` },
    { key: "count", title: "Rows", isNumber: true, render: (/** @type {any} */ item) => formatCount(item.count) },
  ];
  return html`
    <h3>Values without an entry in the profile ${profile.name}</h3>
    <p class="faint">Add the entries to the profile, then send the file again: rows that are in do not change.</p>
    <${PagedTable} label="Values without an entry" columns=${columns} items=${list.value.items}
      keyOf=${(/** @type {any} */ item) => `${item.fieldName}|${item.value}`} />
    ${list.value.leftOut > 0 && html`<p>${countOf(list.value.leftOut, "row")} with further values are not listed.</p>`}
  `;
}
