/** @file Batches of authentication data: which wait, what each would do, and processing it. */

import { ConfirmDialog } from "../components/ConfirmDialog.js";
import { DataTable } from "../components/DataTable.js";
import { Facts } from "../components/Facts.js";
import { LocalTime } from "../components/LocalTime.js";
import { OF_MESSAGE } from "../components/MessageText.js";
import { ErrorNotice, Notice } from "../components/Notice.js";
import { PagedTable } from "../components/PagedTable.js";
import { Pager, usePages } from "../components/Pager.js";
import { Value } from "../components/Value.js";
import { newIdempotencyKey } from "../files.js";
import { countOf, formatCount, formatShare } from "../formatting.js";
import { GatewayError } from "../gateway.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf, replaceQuery } from "../routes.js";

const HERE = "/api/admin/authdata";
const DAYS_SHOWN = 7;
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** @type {Record<string, [string, string]>} */
const STATES = {
  Staged: ["waits for review", "running"],
  Processing: ["running", "running"],
  Processed: ["processed", "good"],
  Cancelled: ["cancelled", "warning"],
  Expired: ["expired", "warning"],
};
/** @type {[string, string][]} */
const TOTALS = [
  ["totalRecords", "Records"],
  ["totalNew", "New"],
  ["totalUpdates", "Updated"],
  ["totalNoChange", "Unchanged"],
  ["totalDuplicates", "Duplicates"],
  ["totalErrors", "Errors"],
];
/** @type {[string, string][]} */
const OF_UPDATES = [
  ["totalAuthValueChange", "Values changed"],
  ["totalEmpIdUpdate", "Ids changed"],
  ["totalStatusChange", "Statuses changed"],
];

/** @param {import("../main.js").PageProperties} properties */
export function BatchesPage({ gateway, query }) {
  const chosen = query["batch"] ?? "";
  const pages = usePages("");
  const list = useLoaded(
    (signal) => {
      const since = new Date(Date.now() - DAYS_SHOWN * 86_400_000).toISOString();
      return gateway.get(HERE, { since, continuation: pages.continuation }, { signal });
    },
    [pages.continuation],
    10,
  );
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    {
      key: "fileLogId", title: "Batch", isHeader: true, render: (item) => html`
        <a href=${hashOf("/batches", {}, { batch: item.fileLogId })} aria-current=${item.fileLogId === chosen ? "true" : undefined}>
          <code>${item.fileLogId}</code>
        </a>`,
    },
    { key: "state", title: "State", render: (item) => html`<${BatchState} state=${item.state} />` },
    { key: "records", title: "Records", isNumber: true, render: (item) => formatCount(item.records) },
    { key: "openedAt", title: "Opened", render: (item) => html`<${LocalTime} time=${item.openedAt} />` },
    { key: "changedAt", title: "Last changed", render: (item) => html`<${LocalTime} time=${item.changedAt} />` },
    {
      key: "importId", title: "Import", render: (item) => item.importId
        && html`<a href=${hashOf("/imports/{importId}", { importId: item.importId })}>open</a>`,
    },
  ];
  return html`
    <h1>Batches</h1>
    <p class="faint">
      Batches of authentication data that wait, and those that ended in the last ${DAYS_SHOWN} days.
      ${" "}<a href="#/upload?type=authdata">Stage a file</a>
    </p>
    <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
    ${list.value && html`
      <${DataTable} label="Batches" columns=${columns} items=${list.value.items}
        keyOf=${(/** @type {any} */ item) => item.fileLogId}
        rowClass=${(/** @type {any} */ item) => (item.fileLogId === chosen ? "chosen" : "")}
        empty=${pages.number > 1 ? "There are no more batches." : html`No batch waits, and none has ended lately. A batch is opened by <a href="#/upload?type=authdata">staging a file</a>, or by a call.`} />
      <${Pager} pages=${pages} continuation=${list.value.continuation} label="Pages of batches" />
    `}
    <${OpenById} key=${chosen} chosen=${chosen} />
    ${chosen && !GUID.test(chosen) && html`
      <${Notice} kind="error" title="There is no batch of this id">
        An id looks like 8375fb13-cce4-4cf1-8280-7bad9e6cb16f. Correct it, or choose a batch of the list.
      <//>
    `}
    ${GUID.test(chosen) && html`
      <${Review} key=${chosen} gateway=${gateway} fileLogId=${chosen} onProcessed=${list.reload} />
    `}
    <${Thresholds} gateway=${gateway} />
  `;
}

/** @param {{ state: string }} properties */
function BatchState({ state }) {
  const [words, colour] = STATES[state] ?? [state, "plain"];
  return html`<span class=${`label label-${colour}`} title=${state}>${words}</span>`;
}

/** @param {{ chosen: string }} properties */
function OpenById({ chosen }) {
  /** @param {SubmitEvent} event */
  const open = (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    replaceQuery({ batch: String(form.get("batch") ?? "").trim() });
  };
  return html`
    <form class="search" onSubmit=${open}>
      <div class="fields">
        <label>
          fileLogId of a batch
          <input name="batch" required maxlength="60" spellcheck=${false} defaultValue=${chosen} />
        </label>
        <button type="submit" class="search-button secondary">Review</button>
      </div>
    </form>
  `;
}

/**
 * What a batch would do, or has done.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, fileLogId: string, onProcessed: () => void }} properties
 */
function Review({ gateway, fileLogId, onProcessed }) {
  const path = `${HERE}/${encodeURIComponent(fileLogId)}`;
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState(/** @type {any} */ (null));
  const [importId, setImportId] = useState("");
  const key = useRef("");
  key.current ||= newIdempotencyKey();
  // A batch whose import runs is answered with the import, any other with its totals.
  const shown = useLoaded(
    async (signal) => {
      const { body, headers, status } = await gateway.send("GET", path, null, {}, { signal });
      return { ...body, isRunning: status === 202, doneBy: headers.get("X-Import-Id") ?? body.importId ?? "" };
    },
    [path],
    (value) => (value?.isRunning ? 1 : null),
  );
  const batch = shown.value;
  const isRunning = batch?.isRunning === true;
  const ofImport = importId || batch?.doneBy || "";
  useEffect(() => {
    // The answer of an ended import is what ends its batch in the list.
    if (importId && batch && !isRunning) onProcessed();
  }, [importId, batch]);

  const process = async () => {
    setBusy(true);
    setFailure(null);
    try {
      const answer = await gateway.send("POST", path, null, {
        Prefer: "respond-async", "Idempotency-Key": key.current,
      });
      setImportId(answer.headers.get("X-Import-Id") ?? answer.body?.importId ?? "");
      shown.reload();
      onProcessed();
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
    setAsking(false);
  };

  return html`
    <section aria-label="Review">
      <h2>Review of <code>${fileLogId}</code></h2>
      <${ErrorNotice} error=${shown.error} onRetry=${shown.reload} />
      <${ErrorNotice} error=${failure} title="The batch may not be processed" />
      ${ofImport && html`
        <${Notice} kind="success" title=${isRunning ? "The batch is being processed" : "The batch is processed"}>
          <a href=${hashOf("/imports/{importId}", { importId: ofImport })}>Open its import</a>
        <//>
      `}
      ${batch && !isRunning && html`
        ${batch.thresholdExceptions.map((/** @type {string} */ text) => html`
          <${Notice} key=${text} kind="warning" title="A threshold is exceeded">${text}<//>
        `)}
        <${Facts} facts=${TOTALS.map(([name, title]) => [title, formatCount(batch[name])])} />
        ${batch.totalUpdates > 0 && html`
          <p class="faint">
            Of the updates: ${OF_UPDATES.map(([name, title]) => `${title} ${formatCount(batch[name])}`).join(", ")}.
          </p>
        `}
        <${ReviewTables} batch=${batch} />
        ${!ofImport && html`
          <div class="actions">
            <button type="button" disabled=${batch.thresholdExceptions.length > 0} onClick=${() => setAsking(true)}>Process the batch</button>
            <span class="faint">A batch is processed once: asking again shows what it did the first time.</span>
          </div>
        `}
      `}
      ${isAsking && html`
        <${ConfirmDialog} title="Process the batch?" confirm="Process" isBusy=${isBusy}
          onConfirm=${process} onClose=${() => setAsking(false)}>
          <p>
            ${countOf(batch.totalNew, "employee")} new, ${formatCount(batch.totalUpdates)} changed,
            ${" "}${countOf(batch.totalErrors, "record")} with errors
            (${formatShare(batch.totalErrors, batch.totalRecords)}). It is judged again against what is
            stored then, and the thresholds are checked again.
          </p>
        <//>
      `}
    </section>
  `;
}

/** @param {{ batch: any }} properties */
function ReviewTables({ batch }) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { Value } of batch.employeeDetails) counts.set(Value, (counts.get(Value) ?? 0) + 1);
  const [chosen, setChosen] = useState("");
  const outcome = chosen || (counts.keys().next().value ?? "");
  const employees = batch.employeeDetails.filter((/** @type {any} */ each) => each.Value === outcome);
  return html`
    ${batch.errorDetails.length > 0 && html`
      <h3>Records with errors</h3>
      <${PagedTable} label="Records with errors" items=${numbered(batch.errorDetails)} keyOf=${(/** @type {any} */ item) => item.at}
        columns=${[{ key: "line", title: "Record", isNumber: true }, { key: "value", title: "What is wrong", render: (/** @type {any} */ item) => html`<${Value} value=${item.value} most=${OF_MESSAGE} />` }]} />
    `}
    ${batch.duplicateAuthValues.length > 0 && html`
      <h3>Duplicates, which are left out</h3>
      <${PagedTable} label="Duplicates" items=${numbered(batch.duplicateAuthValues)} keyOf=${(/** @type {any} */ item) => item.at}
        columns=${["employeeId", "authValue1", "authValue2", "authValue3"].map((name) => ({ key: name, title: name, render: (/** @type {any} */ item) => html`<${Value} value=${item[name] ?? ""} />` }))} />
    `}
    ${counts.size > 0 && html`
      <h3>Employees</h3>
      <div class="choices" role="group" aria-label="Outcome of the employees">
        ${[...counts].map(([name, count]) => html`
          <button key=${name} type="button" class="secondary small" aria-pressed=${name === outcome ? "true" : "false"}
            onClick=${() => setChosen(name)}>${name} ${formatCount(count)}</button>
        `)}
      </div>
      <${PagedTable} label="Employees" items=${numbered(employees)} pageOf=${outcome} keyOf=${(/** @type {any} */ item) => item.at}
        columns=${[{ key: "Key", title: "employeeId", isHeader: true, render: (/** @type {any} */ item) => html`<${Value} value=${item.Key} />` }, { key: "Value", title: "What becomes of it" }]} />
    `}
  `;
}

/** @param {any[]} items */
function numbered(items) {
  return items.map((item, at) => ({ ...item, at }));
}

/** @param {{ gateway: import("../gateway.js").Gateway }} properties */
function Thresholds({ gateway }) {
  const shown = useLoaded(async (signal) => {
    try {
      return await gateway.get("/api/admin/thresholds", {}, { signal });
    } catch (error) {
      if (error instanceof GatewayError && error.isForbidden) return null;
      throw error;
    }
  }, []);
  /** @param {string | null} percent */
  const words = (percent) => (percent === null ? "no limit" : `${percent}%`);
  return html`
    <h2>Thresholds</h2>
    <${ErrorNotice} error=${shown.error} onRetry=${shown.reload} />
    ${shown.value === null && html`<p class="faint">They are shown to callers with the permission admin.</p>`}
    ${shown.value && html`
      <p class="faint">A batch that exceeds one is cancelled as a whole. An administrator sets them.</p>
      <${Facts} facts=${[
        ["New employees, of those stored", words(shown.value.added)],
        ["Changed employees, of those stored", words(shown.value.updated)],
        ["Records with errors, of the batch", words(shown.value.errors)],
      ]} />
    `}
  `;
}
