import { html } from "../html.js";

/**
 * Names with their values, side by side where there is room.
 *
 * @param {{ facts: [name: string, value: any][] }} properties Facts without a value are left out.
 */
export function Facts({ facts }) {
  return html`
    <dl class="facts">
      ${facts.filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => html`
        <div key=${name}><dt>${name}</dt><dd>${value}</dd></div>
      `)}
    </dl>
  `;
}
