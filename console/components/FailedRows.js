import { addressOf } from "../gateway.js";
import { html } from "../html.js";
import { useLoaded } from "../loading.js";
import { ErrorNotice } from "./Notice.js";
import { Pager, usePages } from "./Pager.js";
import { RowEditor } from "./RowEditor.js";

const OF_PAGE = 20;

/**
 * @typedef {{ row: any, texts: Record<string, string> }} Correction A row as it was sent, and the texts
 *   of its changed cells by path.
 * @typedef {Record<number, Correction>} Corrections By the index of the row.
 */

/**
 * The failed rows that no retry has imported yet, in pages: all, or those of one group of messages.
 *
 * @param {{ gateway: import("../gateway.js").Gateway, importId: string, type: string, keyFields: string[],
 *   filter: { error: string, field: string }, corrections: Corrections, revision: string,
 *   onCorrections: (corrections: Corrections) => void, isReadOnly: boolean }} properties
 */
export function FailedRows({
  gateway, importId, type, keyFields, filter, corrections, revision, onCorrections, isReadOnly,
}) {
  const pages = usePages(JSON.stringify([importId, filter]));
  const page = useLoaded(
    async (signal) => {
      const path = `/api/imports/${encodeURIComponent(importId)}/failed-rows`;
      const query = { errorID: filter.error, fieldName: filter.field, pageSize: OF_PAGE, continuation: pages.continuation };
      const answer = await gateway.send("GET", addressOf(path, query), null, { Accept: "application/json" }, { signal, isExact: true });
      return { items: answer.body, continuation: continuationOf(answer.headers.get("Link")) };
    },
    [importId, filter, pages.continuation],
    null,
    revision,
  );
  /**
   * @param {any} item
   * @param {string} path
   * @param {string | null} text
   */
  const change = (item, path, text) => {
    const { [item.index]: before = { row: item.row, texts: {} }, ...others } = corrections;
    const { [path]: _dropped, ...kept } = before.texts;
    const texts = text === null ? kept : { ...kept, [path]: text };
    onCorrections(Object.keys(texts).length ? { ...others, [item.index]: { row: item.row, texts } } : others);
  };
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
        changes=${corrections[item.index]?.texts ?? {}}
        onChange=${(/** @type {string} */ path, /** @type {string | null} */ text) => change(item, path, text)} />
    `)}
    ${page.value && html`<${Pager} pages=${pages} continuation=${page.value.continuation} label="Pages of failed rows" />`}
  `;
}

/**
 * @param {string | null} link The header `Link` of a page.
 * @returns {string | null} The continuation of the next page.
 */
function continuationOf(link) {
  const target = /<([^>]*)>;\s*rel="next"/.exec(link ?? "")?.[1];
  return target ? new URL(target, location.href).searchParams.get("continuation") : null;
}
