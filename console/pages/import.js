import { ConfirmDialog } from "../components/ConfirmDialog.js";
import { FailedRows } from "../components/FailedRows.js";
import { FailureGroups } from "../components/FailureGroups.js";
import { LocalTime } from "../components/LocalTime.js";
import { ErrorNotice, Notice } from "../components/Notice.js";
import { OutcomeChart } from "../components/OutcomeChart.js";
import { Progress } from "../components/Progress.js";
import { RetryDialog } from "../components/RetryDialog.js";
import { RowResults } from "../components/RowResults.js";
import { StateLabel } from "../components/StateLabel.js";
import { UndoDialog } from "../components/UndoDialog.js";
import { Value } from "../components/Value.js";
import { countOf, formatCaller, formatCount, formatDuration } from "../formatting.js";
import { isAborted } from "../gateway.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf } from "../routes.js";
import { saveAs } from "../saving.js";

const REFRESH_SECONDS = 2;
// While an import runs its messages and rows are read less often: each costs a look at all results.
const DETAILS_MILLISECONDS = 10_000;
const MOST_CHILDREN = 20;

/** @typedef {import("../components/FailedRows.js").Corrections} Corrections */

/** @type {WeakMap<import("../gateway.js").Gateway, Map<string, Corrections>>} */
const UNSENT = new WeakMap();

/**
 * The corrections that were typed and not sent yet: they last until the caller signs out, so that a
 * look at another page loses none. Before a reload, which loses them, the browser asks.
 *
 * @param {import("../gateway.js").Gateway} gateway
 * @param {string} importId
 * @returns {[Corrections, (change: (corrections: Corrections) => Corrections) => void]}
 */
function useCorrections(gateway, importId) {
  const [corrections, setCorrections] = useState(() => UNSENT.get(gateway)?.get(importId) ?? {});
  const hasSome = unsent(corrections).length > 0;
  useEffect(() => {
    if (!hasSome) return undefined;
    const ask = (/** @type {Event} */ event) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [hasSome]);
  /** @param {(corrections: Corrections) => Corrections} change */
  const keep = (change) => {
    const kept = UNSENT.get(gateway) ?? new Map();
    const next = change(kept.get(importId) ?? {});
    UNSENT.set(gateway, kept.set(importId, next));
    setCorrections(next);
  };
  return [corrections, keep];
}

/**
 * @param {Corrections} corrections
 * @returns {[string, import("../components/FailedRows.js").Correction][]} Those that no retry has.
 */
function unsent(corrections) {
  return Object.entries(corrections).filter(([, { state }]) => state !== "sent");
}

/**
 * @param {Corrections} corrections
 * @returns {Corrections} The same after a retry was accepted with them.
 */
function sent(corrections) {
  return Object.fromEntries(Object.entries(corrections).map(([index, each]) => [index, { ...each, state: "sent" }]));
}

/**
 * One import: its outcome, what failed and why, and what can be done.
 *
 * @param {import("../main.js").PageProperties} properties
 */
export function ImportPage({ gateway, parameters, query }) {
  const importId = parameters["importId"] ?? "";
  const path = `/api/imports/${encodeURIComponent(importId)}`;
  const [dialog, setDialog] = useState(/** @type {"retry" | "undo" | "cancel" | null} */ (null));
  const [corrections, setCorrections] = useCorrections(gateway, importId);
  const [notice, setNotice] = useState(/** @type {{ text: string, importId: string } | null} */ (null));
  const [wantsRows, setWantsRows] = useState(false);

  // An import and its retries are asked for again for as long as one of them runs, and once more: a
  // child that ends after its parent was read has changed the counts of the parent.
  const wasOpen = useRef(false);
  const shown = useLoaded(
    async (signal) => {
      const item = await gateway.get(path, {}, { signal });
      const ids = new Set([...item.childIds.slice(-MOST_CHILDREN), item.undoneBy, notice?.importId].filter(Boolean));
      const children = await Promise.all(Array.from(ids, (id) => gateway.get(`/api/imports/${encodeURIComponent(id)}`, {}, { signal })));
      const isOpen = [item, ...children].some((each) => !each.endedAt);
      const isLast = !isOpen && !wasOpen.current;
      wasOpen.current = isOpen;
      return { item, children, isLast };
    },
    [path],
    (value) => (value?.isLast ? null : REFRESH_SECONDS),
    notice?.importId ?? "",
  );
  const capabilities = useLoaded((signal) => gateway.get("/api/capabilities", {}, { signal }), []);
  const item = shown.value?.item;
  const revision = revisionOf(item);

  if (!item) {
    return html`
      <h1>Import</h1>
      ${shown.error
        ? html`<${ErrorNotice} error=${shown.error} onRetry=${shown.reload} title=${shown.error.status === 404 ? "There is no such import" : undefined} /><p><a href="#/imports">Back to all imports</a></p>`
        : html`<p role="status" aria-busy="true">Reading the import…</p>`}
    `;
  }
  /** @type {any[]} */
  const messageTypes = (capabilities.value?.messageTypes ?? []).filter((/** @type {any} */ each) => each.type === item.type);
  const messageType = messageTypes[messageTypes.length - 1];
  const open = item.rows.failed - item.rows.repaired;
  const filter = { error: query["error"] ?? "", field: query["field"] ?? "" };
  const isError = (query["severity"] ?? "error") === "error";
  // Rows that appear while an import runs would move what is below them.
  const areRowsShown = Boolean(item.endedAt) || wantsRows || filter.error !== "";
  const typed = unsent(corrections);
  const changed = typed.length;
  const failedAgain = typed.filter(([, { state }]) => state).length;
  const children = shown.value?.children ?? [];
  const isFollowed = !notice || children.some((each) => each.importId === notice.importId);
  const isRetrying = !isFollowed || children.some((each) => !each.endedAt);
  /** @param {string} text */
  const follow = (text) => (/** @type {any} */ child) => {
    setDialog(null);
    setNotice({ text, importId: child.importId });
    if (dialog === "retry") setCorrections(sent);
    wasOpen.current = true;
  };

  return html`
    <nav aria-label="Above this page"><a href="#/imports">All imports</a></nav>
    <h1>${item.source ? html`<${Value} value=${item.source} />` : `${item.type} ${item.undoes ? "undo" : "import"} ${importId.slice(0, 8)}`}</h1>
    <p class="under-heading" role="status"><${StateLabel} state=${item.state} />${item.undoneBy && html` <span class="label label-warning">undone</span>`} ${summaryOf(item)}</p>
    <${ErrorNotice} error=${shown.error} onRetry=${shown.reload} title="This page is not up to date" />
    ${notice && html`
      <${Notice} kind="success"><p>${notice.text} <a href=${hashOf("/imports/{importId}", { importId: notice.importId })}>Open it</a></p><//>
    `}
    ${!item.endedAt && html`
      <${Progress} label="Progress of the import" done=${item.rows.done} total=${item.rows.total} rate=${item.rowsPerSecond} secondsLeft=${item.secondsLeft} />
    `}
    <${OutcomeChart} rows=${item.rows} />
    <${Actions} gateway=${gateway} item=${item} open=${open} changed=${changed} onChoose=${setDialog} />
    <${Facts} item=${item} children=${children} />

    ${item.links.failures
      ? html`
        <${Messages} gateway=${gateway} item=${item} revision=${revision} filter=${filter} />
        ${!areRowsShown && html`
          <p>
            The rows are shown here when the import has ended.
            ${" "}<button type="button" class="link" onClick=${() => setWantsRows(true)}>Show those that are done</button>
          </p>
        `}
        ${areRowsShown && open > 0 && isError && item.links.failedRows && html`
          <section aria-labelledby="failed-rows">
            <h2 id="failed-rows">${filter.error ? "Failed rows of this group" : "Failed rows"}</h2>
            ${filter.error && html`<p><a href=${hashOf("/imports/{importId}", { importId })}>Show all failed rows</a></p>`}
            <${FailedRows} gateway=${gateway} importId=${importId} type=${item.type} keyFields=${messageType?.keyFields ?? []}
              filter=${filter} corrections=${corrections} revision=${revision} isRetrying=${isRetrying} onCorrections=${setCorrections}
              isReadOnly=${!item.links.retry || Boolean(item.undoes)} />
          </section>
        `}
        ${areRowsShown && html`
          <section aria-labelledby="results">
            <h2 id="results">Results of the rows</h2>
            ${filter.error && html`<p class="faint">Only rows with the message ${filter.error}${filter.field ? html` about <${Value} value=${filter.field} />` : ""}. <a href=${hashOf("/imports/{importId}", { importId })}>Show all rows</a></p>`}
            <${RowResults} gateway=${gateway} importId=${importId} type=${item.type} isUndo=${Boolean(item.undoes)} query=${query} revision=${revision} />
          </section>
        `}
      `
      : html`<${Notice} title="The results have expired"><p>The counts above are kept; the results of the rows are not.</p><//>`}

    ${changed > 0 && html`
      <div class="bar" role="region" aria-label="Corrections">
        <span role="status">${countOf(changed, "row")} corrected, ${failedAgain ? `${formatCount(failedAgain)} failed again` : "not sent yet"}</span>
        <button type="button" onClick=${() => setDialog("retry")}>Send again…</button>
        <button type="button" class="secondary" onClick=${() => setCorrections(() => ({}))}>Discard</button>
      </div>
    `}
    ${dialog === "retry" && html`
      <${RetryDialog} gateway=${gateway} importId=${importId} failed=${open} schema=${messageType?.schema ?? ""} corrections=${Object.fromEntries(typed)}
        onRetried=${follow("The failed rows are sent again, as a new import.")} onClose=${() => setDialog(null)} />
    `}
    ${dialog === "undo" && html`
      <${UndoDialog} gateway=${gateway} importId=${importId} hasRetries=${item.childIds.length > 0} onUndone=${follow("The undo has begun, as a new import.")} onClose=${() => setDialog(null)} />
    `}
    ${dialog === "cancel" && html`
      <${CancelDialog} gateway=${gateway} path=${path} onClose=${() => { setDialog(null); shown.reload(); }} />
    `}
  `;
}

/**
 * @param {any} item
 * @returns {string} Another text where the messages and rows of the import have to be read again.
 */
function revisionOf(item) {
  if (!item) return "";
  if (!item.endedAt) return `running ${Math.floor(Date.now() / DETAILS_MILLISECONDS)}`;
  return `${item.rows.done} ${item.rows.failed} ${item.rows.repaired} ${item.state}`;
}

/** @param {any} item */
function summaryOf(item) {
  const { rows } = item;
  const open = rows.failed - rows.repaired;
  if (!item.endedAt) return `${formatCount(rows.done)} of ${countOf(rows.total, "row")} done.`;
  if (item.state === "Repaired") return `${countOf(rows.failed, "row")} failed, and retries have imported all of them.`;
  if (item.undoes && open === 0) return `${countOf(rows.total, "record")} put back.`;
  if (open === 0) return `All ${countOf(rows.total, "row")} are in.`;
  const repaired = rows.repaired > 0 ? `, ${countOf(rows.repaired, "row")} repaired since` : "";
  return `${formatCount(open)} of ${countOf(rows.total, "row")} failed${repaired}.`;
}

/**
 * What can be done with the import. A button that the caller may not use says so.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, item: any, open: number, changed: number,
 *   onChoose: (dialog: "retry" | "undo" | "cancel") => void }} properties
 */
function Actions({ gateway, item, open, changed, onChoose }) {
  const [error, setError] = useState(/** @type {any} */ (null));
  const [saving, setSaving] = useState("");
  /**
   * @param {string} accept
   * @param {string} ending
   */
  const download = async (accept, ending) => {
    setError(null);
    setSaving(ending);
    try {
      const { blob } = await gateway.download(item.links.failedRows, accept);
      saveAs(blob, `failed-rows-${item.importId}.${ending}`);
    } catch (refusal) {
      if (!isAborted(refusal)) setError(refusal);
    }
    setSaving("");
  };
  const retryAction = changed > 0 ? "correct" : "retry";
  const hints = [
    item.links.cancel ? gateway.refusalOf("cancel") : "",
    item.links.retry ? gateway.refusalOf(retryAction) : "",
    item.links.undo ? gateway.refusalOf("undo") : "",
  ].filter(Boolean);
  /**
   * @param {"retry" | "undo" | "cancel"} name
   * @param {string} action
   * @param {string} words
   * @param {string} style
   */
  const button = (name, action, words, style) => html`
    <button type="button" key=${name} class=${style} disabled=${gateway.refusalOf(action) !== ""}
      aria-describedby=${gateway.refusalOf(action) ? "not-allowed" : undefined} onClick=${() => onChoose(name)}>
      ${words}
    </button>
  `;
  return html`
    <div class="actions">
      ${item.links.cancel && button("cancel", "cancel", "Cancel the import…", "secondary")}
      ${item.links.retry && button("retry", retryAction, changed > 0 ? "Send again, corrected…" : "Send the failed rows again…", "")}
      ${item.links.undo && button("undo", "undo", "Undo…", "secondary")}
      ${item.links.failedRows && open > 0 && html`
        <button type="button" class="secondary" aria-busy=${saving === "csv" ? "true" : "false"} disabled=${saving !== ""} onClick=${() => download("text/csv", "csv")}>
          Download failed rows (CSV)
        </button>
        <button type="button" class="secondary" aria-busy=${saving === "json" ? "true" : "false"} disabled=${saving !== ""} onClick=${() => download("application/json", "json")}>
          JSON<span class="only-read">: download failed rows</span>
        </button>
      `}
    </div>
    ${hints.length > 0 && html`<p class="faint" id="not-allowed">${[...new Set(hints)].join(" ")}</p>`}
    <${ErrorNotice} error=${error} />
  `;
}

/**
 * Who sent the import and when, and the imports that belong to it.
 *
 * @param {{ item: any, children: any[] }} properties
 */
function Facts({ item, children }) {
  const seconds = item.endedAt ? (Date.parse(item.endedAt) - Date.parse(item.acceptedAt)) / 1000 : null;
  /**
   * @param {string} id
   * @param {string} words
   */
  const link = (id, words) => html`<a href=${hashOf("/imports/{importId}", { importId: id })}>${words}</a>`;
  const retries = children.filter((each) => each.importId !== item.undoneBy);
  const undo = children.find((each) => each.importId === item.undoneBy);
  return html`
    <dl class="facts">
      <div><dt>Type</dt><dd>${item.type}</dd></div>
      <div><dt>Sent by</dt><dd><${Value} value=${formatCaller(item.caller)} /></dd></div>
      <div><dt>Accepted</dt><dd><${LocalTime} time=${item.acceptedAt} /></dd></div>
      <div><dt>Ended</dt><dd><${LocalTime} time=${item.endedAt} empty="not yet" />${seconds !== null && html` <span class="faint">after ${formatDuration(seconds)}</span>`}</dd></div>
      ${item.cancelledBy && html`<div><dt>Cancelled by</dt><dd><${Value} value=${formatCaller(item.cancelledBy)} /></dd></div>`}
      ${item.profile && html`<div><dt>Mapping profile</dt><dd><${Value} value=${item.profile.name} />, version ${item.profile.version}</dd></div>`}
      ${item.rows.skipped !== undefined && html`<div><dt>Skipped by the profile</dt><dd>${countOf(item.rows.skipped, "row")}</dd></div>`}
      ${(item.rows.warnings > 0 || item.rows.infos > 0) && html`<div><dt>Messages</dt><dd>${countOf(item.rows.warnings, "row")} with warnings, ${countOf(item.rows.infos, "row")} with infos</dd></div>`}
      ${item.parentId && html`<div><dt>Retry of</dt><dd>${link(item.parentId, item.parentId.slice(0, 8))}</dd></div>`}
      ${item.undoes && html`<div><dt>Undo of</dt><dd>${link(item.undoes, item.undoes.slice(0, 8))}</dd></div>`}
      ${undo && html`<div><dt>Undone by</dt><dd>${link(undo.importId, undo.importId.slice(0, 8))} <${StateLabel} state=${undo.state} /></dd></div>`}
      <div class="fact-wide"><dt>Import id</dt><dd><code>${item.importId}</code></dd></div>
    </dl>
    ${retries.length > 0 && html`
      <section aria-labelledby="retries">
        <h2 id="retries">Retries</h2>
        <ul class="children">
          ${retries.map((child) => html`
            <li key=${child.importId}>
              ${link(child.importId, child.importId.slice(0, 8))} <${StateLabel} state=${child.state} />
              ${" "}<${LocalTime} time=${child.acceptedAt} />, ${summaryOf(child)}
            </li>
          `)}
        </ul>
        ${item.childIds.length > retries.length && html`<p class="faint">The newest ${retries.length} of ${item.childIds.length} retries.</p>`}
      </section>
    `}
  `;
}

/**
 * The messages in groups.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, item: any, revision: string,
 *   filter: { error: string, field: string } }} properties
 */
function Messages({ gateway, item, revision, filter }) {
  const groups = useLoaded((signal) => gateway.get(item.links.failures, {}, { signal }), [item.links.failures], null, revision);
  if (groups.value && groups.value.items.length === 0) return null;
  return html`
    <section aria-labelledby="messages">
      <h2 id="messages">What the gateway says</h2>
      <${ErrorNotice} error=${groups.error} onRetry=${groups.reload} />
      ${groups.value && html`
        <${FailureGroups} importId=${item.importId} groups=${groups.value.items} leftOut=${groups.value.leftOut} chosen=${filter} />
      `}
    </section>
  `;
}

/**
 * @param {{ gateway: import("../gateway.js").Gateway, path: string, onClose: () => void }} properties
 */
function CancelDialog({ gateway, path, onClose }) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const cancel = async () => {
    setBusy(true);
    setError(null);
    try {
      await gateway.send("POST", `${path}/cancel`, null, { Prefer: "respond-async" });
      onClose();
    } catch (refusal) {
      if (isAborted(refusal)) return;
      gateway.noteRefusal("cancel", refusal);
      setError(refusal);
      setBusy(false);
    }
  };
  return html`
    <${ConfirmDialog} title="Cancel this import" confirm="Cancel the import" isDangerous isBusy=${isBusy}
      isDisabled=${Boolean(error?.isForbidden)} onConfirm=${cancel} onClose=${onClose}>
      <p>Rows that are in by now stay. The other rows end as failed, and can be sent again later.</p>
      <${ErrorNotice} error=${error} />
    <//>
  `;
}
