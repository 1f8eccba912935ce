import { isAborted, newIdempotencyKey } from "../gateway.js";
import { countOf } from "../formatting.js";
import { html, useRef, useState } from "../html.js";
import { typesAt, valueAt, valueOfText, withValue } from "../rows.js";
import { ConfirmDialog } from "./ConfirmDialog.js";
import { ErrorNotice } from "./Notice.js";

/**
 * Sends the failed rows again, with the corrected ones in place of what was sent.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string, failed: number, schema: string,
 *   corrections: import("./FailedRows.js").Corrections, onRetried: (child: any) => void,
 *   onClose: () => void }} properties `schema` is the address of the schema of a row, empty where
 *   there is none.
 */
export function RetryDialog({ gateway, importId, failed, schema, corrections, onRetried, onClose }) {
  const key = useRef("");
  key.current ||= newIdempotencyKey();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const corrected = Object.entries(corrections);
  const action = corrected.length > 0 ? "correct" : "retry";

  const retry = async () => {
    setBusy(true);
    setError(null);
    try {
      const types = schema && corrected.length > 0 ? await gateway.get(schema) : null;
      const body = corrected.map(([index, correction]) => ({ index: Number(index), row: correctedRow(correction, types) }));
      const answer = await gateway.send(
        "POST", `/api/imports/${encodeURIComponent(importId)}/retry`, body.length > 0 ? body : null,
        { Prefer: "respond-async", "Idempotency-Key": key.current },
      );
      onRetried(answer.body);
    } catch (refusal) {
      if (isAborted(refusal)) return;
      gateway.noteRefusal(action, refusal);
      setError(refusal);
      setBusy(false);
    }
  };
  return html`
    <${ConfirmDialog} title="Send the failed rows again" confirm=${`Send ${countOf(failed, "row")} again`} isBusy=${isBusy}
      isDisabled=${Boolean(error?.isForbidden)} onConfirm=${retry} onClose=${onClose}>
      <p>
        ${countOf(failed, "failed row")} that no retry has imported yet ${failed === 1 ? "is" : "are"} sent again, as a
        new import.${" "}
        ${corrected.length > 0
          ? html`<strong>${countOf(corrected.length, "row")} of them with your corrections</strong>, the others as they were.`
          : "They are sent as they were: that helps where another record was missing, or where the gateway could not process them."}
      </p>
      <p class="faint">A row that is sent as it was fails where a later import has changed its record. A corrected row does not.</p>
      <${ErrorNotice} error=${error} />
    <//>
  `;
}

/**
 * @param {import("./FailedRows.js").Correction} correction
 * @param {any} schema
 */
function correctedRow({ row, texts }, schema) {
  let result = row;
  for (const [path, text] of Object.entries(texts)) {
    const types = schema ? typesAt(schema, path) : new Set();
    result = withValue(result, path, valueOfText(text, types, valueAt(row, path)));
  }
  return result;
}
