import { html, useState } from "../html.js";
import { DataTable } from "./DataTable.js";

const PAGE = 50;

/**
 * A table of a list that is in the page as a whole, 50 items at a time.
 *
 * @param {{ label: string, columns: import("./DataTable.js").Column[], items: any[],
 *   keyOf: (item: any) => string | number, empty?: any, pageOf?: any }} properties `pageOf`: another
 *   value starts at the first page.
 */
export function PagedTable({ label, columns, items, keyOf, empty, pageOf = "" }) {
  const [place, setPlace] = useState({ pageOf, page: 0 });
  const last = Math.max(0, Math.ceil(items.length / PAGE) - 1);
  const page = Math.min(place.pageOf === pageOf ? place.page : 0, last);
  /** @param {number} next */
  const turn = (next) => setPlace({ pageOf, page: next });
  return html`
    <${DataTable} label=${label} columns=${columns} keyOf=${keyOf} empty=${empty}
      items=${items.slice(page * PAGE, (page + 1) * PAGE)} />
    ${last > 0 && html`
      <nav class="pager" aria-label=${`Pages: ${label}`}>
        <button type="button" class="secondary small" disabled=${page === 0} onClick=${() => turn(page - 1)}>Previous</button>
        <span aria-live="polite">Page ${page + 1} of ${last + 1}</span>
        <button type="button" class="secondary small" disabled=${page === last} onClick=${() => turn(page + 1)}>Next</button>
      </nav>
    `}
  `;
}
