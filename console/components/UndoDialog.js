import { addressOf, isAborted, newIdempotencyKey } from "../gateway.js";
import { countOf, formatCount } from "../formatting.js";
import { html, useRef, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { Changes } from "./Changes.js";
import { ConfirmDialog } from "./ConfirmDialog.js";
import { MessageList } from "./MessageText.js";
import { ErrorNotice, Notice } from "./Notice.js";
import { PagedTable } from "./PagedTable.js";
import { Value } from "./Value.js";

const TOO_LARGE = 413;

/**
 * Shows what an undo would do, and does it.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string, hasRetries: boolean,
 *   onUndone: (child: any) => void, onClose: () => void }} properties
 */
export function UndoDialog({ gateway, importId, hasRetries, onUndone, onClose }) {
  const path = `/api/imports/${encodeURIComponent(importId)}/undo`;
  const key = useRef("");
  key.current ||= newIdempotencyKey();
  const [isOnlyIfAll, setOnlyIfAll] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const judged = useLoaded(async (signal) => {
    try {
      return (await gateway.send("POST", addressOf(path, { dryRun: true }), null, {}, { signal })).body;
    } catch (refusal) {
      gateway.noteRefusal("undo", refusal);
      throw refusal;
    }
  }, [path]);
  // An import of very many rows has no dry run, but it can be undone.
  const isTooLarge = judged.error?.status === TOO_LARGE;
  const rows = judged.value?.rows;

  const undo = async () => {
    setBusy(true);
    setError(null);
    try {
      const address = addressOf(path, isOnlyIfAll ? { onlyIfAll: true } : {});
      const answer = await gateway.send("POST", address, null, {
        Prefer: "respond-async", "Idempotency-Key": `${key.current}${isOnlyIfAll ? "-all" : ""}`,
      });
      onUndone(answer.body);
    } catch (refusal) {
      if (isAborted(refusal)) return;
      gateway.noteRefusal("undo", refusal);
      setError(refusal);
      setBusy(false);
    }
  };
  const words = rows ? `Undo: put back ${countOf(rows.reversed, "row")}` : "Undo";
  return html`
    <${ConfirmDialog} title="Undo this import" confirm=${words} isDangerous isBusy=${isBusy} onConfirm=${undo} onClose=${onClose}
      isDisabled=${!(rows && rows.reversed > 0) && !isTooLarge}>
      <p>
        An undo is an import of its own. It puts the records back to what they were before this import.
        Records that a later import has changed stay as they are.
        ${hasRetries && " Rows that a retry has imported stay too: undo the retries as well."}
      </p>
      ${judged.isLoading && html`<p role="status" aria-busy="true">Finding out what would happen…</p>`}
      ${isTooLarge
        ? html`<${Notice} kind="warning" title="This import is too large to try it first"><p>${judged.error.message}</p><p>The undo itself is possible. Tick the box below to undo only if every row can be put back.</p><//>`
        : html`<${ErrorNotice} error=${judged.error} onRetry=${judged.error?.isForbidden ? undefined : judged.reload} />`}
      ${rows && html`
        <h3>What would happen (nothing is done yet)</h3>
        <dl class="facts">
          <div><dt>Rows that took effect</dt><dd class="number">${formatCount(rows.total)}</dd></div>
          <div><dt>Records put back</dt><dd class="number">${formatCount(rows.reversed)}</dd></div>
          <div><dt>Put back already</dt><dd class="number">${formatCount(rows.unchanged)}</dd></div>
          <div><dt>Records kept as they are</dt><dd class=${`number ${rows.failed ? "bad" : ""}`}>${formatCount(rows.failed)}</dd></div>
        </dl>
        ${judged.value.failures.length > 0 && html`
          <h3>Why records are kept</h3>
          <ul>
            ${judged.value.failures.map((/** @type {any} */ group, /** @type {number} */ at) => html`
              <li key=${at}>${countOf(group.count, "row")}: <${Value} value=${group.message} />${group.advice && html` <span class="faint">${group.advice}</span>`}</li>
            `)}
          </ul>
        `}
        <${UndoneRows} gateway=${gateway} path=${path} />
      `}
      ${((rows && rows.failed > 0) || isTooLarge) && html`
        <label>
          <input type="checkbox" checked=${isOnlyIfAll} onChange=${(/** @type {any} */ event) => setOnlyIfAll(event.currentTarget.checked)} />
          Undo nothing unless every row can be put back
        </label>
      `}
      <${ErrorNotice} error=${error} />
    <//>
  `;
}

const OUTCOMES = /** @type {Record<string, string>} */ ({ reversed: "put back", unchanged: "put back already", failed: "kept" });

/**
 * What the undo would do to each row, once the caller asks for it.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, path: string }} properties
 */
function UndoneRows({ gateway, path }) {
  const [isOpen, setOpen] = useState(false);
  const rows = useLoaded(
    async (signal) => {
      if (!isOpen) return undefined;
      const address = addressOf(path, { dryRun: true, view: "rows" });
      return (await gateway.send("POST", address, null, {}, { signal, isExact: true })).body.items;
    },
    [path, isOpen],
  );
  if (!isOpen) {
    return html`<button type="button" class="secondary small" onClick=${() => setOpen(true)}>Show the rows</button>`;
  }
  const columns = [
    { key: "index", title: "Row", isNumber: true, render: (/** @type {any} */ item) => formatCount(item.index + 1) },
    { key: "key", title: "Record", isHeader: true, render: (/** @type {any} */ item) => html`<${Value} value=${Object.values(item.key).join(" · ")} />` },
    { key: "outcome", title: "Outcome", render: (/** @type {any} */ item) => OUTCOMES[item.outcome] ?? item.outcome },
    { key: "changes", title: "What would change", render: (/** @type {any} */ item) => html`<${Changes} changes=${item.changes ?? []} />` },
    { key: "messages", title: "Messages", render: (/** @type {any} */ item) => html`<${MessageList} messages=${item.messages} />` },
  ];
  return html`
    ${rows.isLoading && html`<p role="status" aria-busy="true">Reading the rows…</p>`}
    <${ErrorNotice} error=${rows.error} onRetry=${rows.reload} />
    ${rows.value && html`
      <${PagedTable} label="Rows of the undo" columns=${columns} items=${rows.value} keyOf=${(/** @type {any} */ item) => item.index} />
    `}
  `;
}
