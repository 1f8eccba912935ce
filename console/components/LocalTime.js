import { formatLocal, formatUtc } from "../formatting.js";
import { html } from "../html.js";

/**
 * A time in the zone of the reader, with UTC in its title.
 *
 * @param {{ time: string | null | undefined, empty?: string }} properties
 */
export function LocalTime({ time, empty = "" }) {
  if (!time) return html`<span>${empty}</span>`;
  return html`<time datetime=${time} title=${formatUtc(time)}>${formatLocal(time)}</time>`;
}
