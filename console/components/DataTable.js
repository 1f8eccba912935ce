import { html } from "../html.js";

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} title
 * @property {boolean} [isNumber] Its values are aligned right.
 * @property {(item: any) => any} [render] The content of a cell; by default `item[key]`.
 * @property {boolean} [isHeader] Its cells name their rows.
 * @property {boolean} [isWide] Its cells have sentences, and keep some width on a narrow screen.
 */

/**
 * A table that scrolls by itself where it is wider than the page.
 *
 * @param {{ label: string, columns: Column[], items: any[], keyOf: (item: any) => string | number,
 *   rowClass?: (item: any) => string, empty?: any }} properties `keyOf` keeps rows in place while
 *   their values change.
 */
export function DataTable({ label, columns, items, keyOf, rowClass, empty }) {
  if (items.length === 0 && empty !== undefined) return html`<p class="empty">${empty}</p>`;
  return html`
    <div class="table-frame" role="region" aria-label=${label} tabindex="0">
      <table>
        <thead>
          <tr>
            ${columns.map((column) => html`
              <th key=${column.key} scope="col" class=${column.isNumber ? "number" : ""}>${column.title}</th>
            `)}
          </tr>
        </thead>
        <tbody>
          ${items.map((item) => html`
            <tr key=${keyOf(item)} class=${rowClass?.(item) ?? ""}>
              ${columns.map((column) => {
                const content = column.render ? column.render(item) : item[column.key];
                const style = `${column.isNumber ? "number" : ""} ${column.isWide ? "wide" : ""}`.trim();
                return column.isHeader
                  ? html`<th key=${column.key} scope="row" class=${style}>${content}</th>`
                  : html`<td key=${column.key} class=${style}>${content}</td>`;
              })}
            </tr>
          `)}
        </tbody>
      </table>
    </div>
  `;
}
