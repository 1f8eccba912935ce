import { html } from "../html.js";
import { Value } from "./Value.js";

/** A message says what to do at its end: it is shown as a whole, unless a value makes it long. */
export const OF_MESSAGE = 600;

/**
 * A message of a row: its field, what is wrong, its id.
 *
 * @param {{ message: any }} properties
 */
export function MessageText({ message }) {
  const colour = { Error: "bad", Warning: "warning", Info: "faint" }[/** @type {string} */ (message.messageType)] ?? "";
  return html`
    <span class="message-text">
      <span class=${`severity ${colour}`}>${message.messageType}</span>${" "}
      ${message.fieldName && html`<span class="field"><${Value} value=${message.fieldName} />: </span>`}
      <${Value} value=${message.message} most=${OF_MESSAGE} />${" "}
      <span class="faint">${message.errorID}</span>
    </span>
  `;
}

/** @param {{ messages: any[] }} properties */
export function MessageList({ messages }) {
  return html`
    <ul class="messages">
      ${messages.map((message, at) => html`<li key=${at}><${MessageText} message=${message} /></li>`)}
    </ul>
  `;
}
