import { html } from "../html.js";

/** @type {Record<string, [string, string]>} The words and the colour of each state of an import. */
const STATES = {
  Accepted: ["waiting", "running"],
  Processing: ["running", "running"],
  Completed: ["completed", "good"],
  CompletedWithErrors: ["rows failed", "bad"],
  Repaired: ["repaired", "good"],
  Cancelled: ["cancelled", "warning"],
};

/** @param {{ state: string }} properties */
export function StateLabel({ state }) {
  const [words, colour] = STATES[state] ?? [state, "plain"];
  return html`<span class=${`label label-${colour}`} title=${state}>${words}</span>`;
}
