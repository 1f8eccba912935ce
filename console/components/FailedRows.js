import { addressOf } from "../gateway.js";
import { html } from "../html.js";
import { useLoaded } from "../loading.js";
import { ErrorNotice } from "./Notice.js";
import { Pager, usePages } from "./Pager.js";
import { RowEditor } from "./RowEditor.js";

const OF_PAGE = 20;

/**
 * @typedef {{ row: any, texts: Record<string, string>, state?: "sent" | "failed again" }} Correction A row
 *   as it was sent, and the texts of its changed cells by path. While a retry has them they are "sent".
 * @typedef {Record<number, Correction>} Corrections By the index of the row.
 */

/**
 * The failed rows that no retry has imported yet, in pages: all, or those of one group of messages.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string, type: string, keyFields: string[],
 *   filter: { error: string, field: string }, corrections: Corrections, revision: string, isRetrying: boolean,
 *   onCorrections: (change: (corrections: Corrections) => Corrections) => void, isReadOnly: boolean }} properties
 *   `isRetrying`: a retry of the import has not ended, and may import some of the rows.
 */
export function FailedRows({
  gateway, importId, type, keyFields, filter, corrections, revision, isRetrying, onCorrections, isReadOnly,
}) {
  const pages = usePages(JSON.stringify([importId, filter]));
  const page = useLoaded(
    async (signal) => {
      const path = `/api/imports/${encodeURIComponent(importId)}/failed-rows`;
      const query = { errorID: filter.error, fieldName: filter.field, pageSize: OF_PAGE, continuation: pages.continuation };
      const answer = await gateway.send("GET", addressOf(path, query), null, { Accept: "application/json" }, { signal, isExact: true });
      if (!isRetrying) onCorrections((before) => sentAgain(before, answer.body));
      return { items: answer.body, continuation: continuationOf(answer.headers.get("Link")) };
    },
    [importId, filter, pages.continuation],
    null,
    `${revision} ${isRetrying}`,
  );
  /**
   * @param {any} item
   * @param {string} path
   * @param {string | null} text
   */
  const change = (item, path, text) => onCorrections((before) => {
    const { [item.index]: correction, ...others } = before;
    const { [path]: _dropped, ...kept } = textsOf(correction);
    const texts = text === null ? kept : { ...kept, [path]: text };
    return Object.keys(texts).length ? { ...others, [item.index]: { row: item.row, texts } } : others;
  });
  return html`
    <${ErrorNotice} error=${page.error} onRetry=${page.reload} />
    ${!page.value && page.isLoading && html`<p class="faint" role="status">Reading the rows…</p>`}
    ${page.value && page.value.items.length === 0 && html`
      <p class="empty">${filter.error
        ? "No failed row has this message any more: retries have imported them, or it is a message of other rows. All results are below."
        : "No failed row is left."}</p>
    `}
    ${page.value && page.value.items.map((/** @type {any} */ item) => html`
      <${RowEditor} key=${item.index} gateway=${gateway} type=${type} keyFields=${keyFields} item=${item} isReadOnly=${isReadOnly}
        changes=${textsOf(corrections[item.index])}
        onChange=${(/** @type {string} */ path, /** @type {string | null} */ text) => change(item, path, text)} />
    `)}
    ${page.value && html`<${Pager} pages=${pages} continuation=${page.value.continuation} label="Pages of failed rows" />`}
  `;
}

/**
 * @param {Correction | undefined} correction
 * @returns {Record<string, string>} The texts that are not sent; those of a retry are on its own page.
 */
function textsOf(correction) {
  return correction && correction.state !== "sent" ? correction.texts : {};
}

/**
 * @param {Corrections} corrections
 * @param {any[]} items Rows that are still out after all retries.
 * @returns {Corrections} With the corrections of these rows as the caller typed them before the retry.
 */
function sentAgain(corrections, items) {
  const again = items.filter(({ index }) => corrections[index]?.state === "sent");
  if (again.length === 0) return corrections;
  const kept = again.map(({ index }) => [index, { ...corrections[index], state: "failed again" }]);
  return { ...corrections, ...Object.fromEntries(kept) };
}

/**
 * @param {string | null} link The header `Link` of a page.
 * @returns {string | null} The continuation of the next page.
 */
function continuationOf(link) {
  const target = /<([^>]*)>;\s*rel="next"/.exec(link ?? "")?.[1];
  return target ? new URL(target, location.href).searchParams.get("continuation") : null;
}
