import { countOf } from "../formatting.js";
import { html, useState } from "../html.js";
import { Value } from "./Value.js";

const MOST_CHANGES = 12;

/**
 * The fields of a record that a dry run would change, with their values before and after.
 *
 * @param {{ changes: { field: string, before: any, after: any }[] }} properties
 */
export function Changes({ changes }) {
  const [isOpen, setOpen] = useState(false);
  const shown = isOpen ? changes : changes.slice(0, MOST_CHANGES);
  return html`
    <ul class="changes">
      ${shown.map((each) => html`
        <li key=${each.field}>
          <strong><${Value} value=${each.field} /></strong>${": "}
          ${each.before !== null && html`<del><${Value} value=${each.before} /></del>${" → "}`}
          <ins>${each.after === null ? "(empty)" : html`<${Value} value=${each.after} />`}</ins>
        </li>
      `)}
      ${shown.length < changes.length && html`
        <li key="more">
          <button type="button" class="secondary small" onClick=${() => setOpen(true)}>
            ${countOf(changes.length - shown.length, "further field")}
          </button>
        </li>
      `}
    </ul>
  `;
}
