import { countOf, formatCount } from "../formatting.js";
import { html, useState } from "../html.js";
import { hashOf } from "../routes.js";
import { DataTable } from "./DataTable.js";
import { Value } from "./Value.js";

const SHOWN = 12;

/**
 * The messages of an import by id and field, with counts; each leads to its rows.
 *
 * @param {{ importId: string, groups: any[], leftOut: number, chosen: { error: string, field: string } }} properties
 */
export function FailureGroups({ importId, groups, leftOut, chosen }) {
  const [isWhole, setWhole] = useState(false);
  /** @param {any} group */
  const isChosen = (group) => String(group.errorID) === chosen.error && (group.fieldName ?? "") === chosen.field;
  /** @param {any} group */
  const address = (group) => hashOf("/imports/{importId}", { importId }, {
    error: String(group.errorID), field: group.fieldName ?? "", severity: group.messageType.toLowerCase(),
  });
  const columns = [
    { key: "count", title: "Messages", isNumber: true, render: (/** @type {any} */ group) => formatCount(group.count) },
    { key: "message", title: "Message", isHeader: true, isWide: true, render: (/** @type {any} */ group) => html`
      <a href=${address(group)} aria-current=${isChosen(group) ? "true" : undefined}>
        <span class="only-read">Show the rows of: </span><${Value} value=${group.message} isShort />
      </a>
      ${group.advice && html`<div class="faint">${group.advice}</div>`}
    ` },
    { key: "field", title: "Field", render: (/** @type {any} */ group) => html`
      <div class="field-name"><${Value} value=${group.fieldName ?? ""} /></div>
      ${group.sentAs && html`<div class="faint">sent as <${Value} value=${group.sentAs} /></div>`}
    ` },
    { key: "severity", title: "Kind", render: (/** @type {any} */ group) => {
      const colour = { Error: "bad", Warning: "warning", Info: "faint" }[/** @type {string} */ (group.messageType)] ?? "";
      return html`<span class=${colour}>${group.messageType}</span> <span class="faint">${group.errorID}</span>`;
    } },
  ];
  const shown = isWhole ? groups : groups.filter((group, at) => at < SHOWN || isChosen(group));
  return html`
    <${DataTable} label="Messages in groups" columns=${columns} items=${shown}
      keyOf=${(/** @type {any} */ group) => `${group.errorID} ${group.fieldName ?? ""} ${group.sentAs ?? ""}`}
      rowClass=${(/** @type {any} */ group) => isChosen(group) ? "chosen" : ""}
      empty="No row has a message." />
    ${groups.length > shown.length && html`
      <button type="button" class="secondary small" onClick=${() => setWhole(true)}>Show all ${formatCount(groups.length)} groups</button>
    `}
    ${leftOut > 0 && html`<p class="faint">${countOf(leftOut, "more message is", "more messages are")} in none of these groups.</p>`}
  `;
}
