import { html } from "../html.js";

/** @type {Record<string, string>} */
const COLOURS = { Error: "bad", Warning: "warning", Info: "plain" };

/**
 * The messages of a row, each with its field.
 *
 * @param {{ messages: { messageType: string, message: string, fieldName?: string, sentAs?: string,
 *   errorID: number }[] }} properties
 */
export function RowMessages({ messages }) {
  return html`
    <ul class="messages">
      ${messages.map((each, at) => html`
        <li key=${at}>
          <span class=${`label label-${COLOURS[each.messageType] ?? "plain"}`} title=${`errorID ${each.errorID}`}>${each.messageType}</span>
          ${" "}${each.fieldName && html`<strong>${each.fieldName}</strong>`}
          ${each.sentAs && html` <span class="faint">(column ${each.sentAs})</span>`}
          ${each.fieldName && ": "}${each.message}
        </li>
      `)}
    </ul>
  `;
}
