import { formatCount, formatValue } from "../formatting.js";
import { html, useState } from "../html.js";

const SHOWN = 160;
// What cannot be seen, or changes the direction of what follows: it is shown by its code point.
const UNSEEN = /([\u0000-\u001f\u007f-\u009f\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff])/;

/**
 * A value that somebody sent: in its own direction, without unseen characters, and not too long.
 *
 * @param {{ value: any, isShort?: boolean, most?: number }} properties `isShort`: within a link or a
 *   button, which has no button of its own; the title has the whole text. `most`: how many characters
 *   are shown at first.
 */
export function Value({ value, isShort = false, most = SHOWN }) {
  const [isWhole, setWhole] = useState(false);
  if (value === null) return html`<span class="faint">null</span>`;
  const text = formatValue(value);
  const isLong = text.length > most && !isWhole;
  const shown = isLong ? text.slice(0, most) : text;
  const parts = UNSEEN.test(shown) ? shown.split(UNSEEN) : [shown];
  return html`
    <bdi class="value" title=${isShort && isLong ? text : undefined}>${parts.map((part, at) => at % 2 === 0 ? part : html`<code class="unseen">${codePoint(part)}</code>`)}</bdi>
    ${isLong && (isShort ? "…" : html`
      … <button type="button" class="secondary small" onClick=${() => setWhole(true)}>
        Show all ${formatCount(text.length)} characters
      </button>
    `)}
  `;
}

/** @param {string} character */
function codePoint(character) {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
