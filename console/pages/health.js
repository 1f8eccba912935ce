/** @file Health: whether storage takes writes, what waits in the queues, and what failed too often. */

import { DataTable } from "../components/DataTable.js";
import { Facts } from "../components/Facts.js";
import { LocalTime } from "../components/LocalTime.js";
import { ErrorNotice, Notice } from "../components/Notice.js";
import { countOf, formatBytes, formatCount, formatDuration } from "../formatting.js";
import { html } from "../html.js";
import { useLoaded } from "../loading.js";

const SECONDS = 10;
// A message that is older waits for a process that is busy, down, or fails on it.
const LONG_SECONDS = 300;

/** @param {import("../main.js").PageProperties} properties */
export function HealthPage({ gateway }) {
  const storage = useLoaded((signal) => gateway.get("/api/health", {}, { signal }), [], SECONDS);
  const queues = useLoaded((signal) => gateway.get("/api/health/queues", {}, { signal }), [], SECONDS);
  const known = useLoaded((signal) => gateway.get("/api/capabilities", {}, { signal }), []);
  const limits = known.value?.limits;
  return html`
    <h1>Health</h1>
    ${storage.error
      ? html`<${ErrorNotice} error=${storage.error} onRetry=${storage.reload} title="Storage does not work" />`
      : storage.value && html`
        <${Notice} kind="success" title="Storage works">Tables, queues and blobs take writes.<//>`}
    <h2>Queues</h2>
    ${queues.error && html`<${ErrorNotice} error=${queues.error} onRetry=${queues.reload} />`}
    ${queues.value && html`<${Queues} state=${queues.value} />`}
    <h2>Gateway</h2>
    <${ErrorNotice} error=${known.error} onRetry=${known.reload} />
    ${limits && html`
      <${Facts} facts=${[
        ["Version", known.value.version],
        ["Largest file", formatBytes(limits.bodyBytes)],
        ["Largest document", formatBytes(limits.documentBytes)],
        ["Rows of an import", formatCount(limits.rows)],
        ["Rows of a dry run", formatCount(limits.dryRunRows)],
        ["Idempotency keys are kept", formatDuration(limits.idempotencySeconds)],
      ]} />
    `}
  `;
}

/** @param {{ state: any }} properties What the gateway says of its queues. */
function Queues({ state }) {
  /** @type {any[]} */
  const queues = state.queues;
  const checked = Date.parse(state.checkedAt);
  const poisoned = queues.reduce((sum, queue) => sum + queue.poisoned, 0);
  const ages = queues.flatMap((queue) => (queue.oldestAt ? [(checked - Date.parse(queue.oldestAt)) / 1000] : []));
  const oldest = ages.length > 0 ? Math.max(...ages) : null;
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    { key: "queue", title: "Queue", isHeader: true },
    { key: "messages", title: "Messages", isNumber: true, render: (item) => formatCount(item.messages) },
    {
      key: "age", title: "Oldest waits for", isNumber: true,
      render: (item) => (item.oldestAt ? formatDuration((checked - Date.parse(item.oldestAt)) / 1000) : ""),
    },
    { key: "oldestAt", title: "Since", render: (item) => html`<${LocalTime} time=${item.oldestAt} />` },
    {
      key: "poisoned", title: "Failed too often", isNumber: true,
      render: (item) => (item.poisoned ? html`<span class="label label-bad">${formatCount(item.poisoned)}</span>` : "0"),
    },
  ];
  return html`
    ${poisoned > 0 && html`
      <${Notice} kind="error" title=${`${countOf(poisoned, "message")} failed too often`}>
        The gateway ends their rows as failed within minutes, with message 9001: retry these imports then.
      <//>
    `}
    ${state.poisonedDrops > 0 && html`
      <${Notice} kind="error" title=${`${countOf(state.poisonedDrops, "dropped file")} failed too often`}>
        The operator of the gateway sees them with manage.py poison list, and imports them once more with
        manage.py poison requeue.
      <//>
    `}
    ${oldest !== null && oldest >= LONG_SECONDS && html`
      <${Notice} kind="warning" title=${`The oldest message waits for ${formatDuration(oldest)}`}>
        Large imports wait for their turn. If no row is done for minutes, ask the operator of the gateway
        whether its function app runs.
      <//>
    `}
    <${DataTable} label="Queues" columns=${columns} items=${queues} keyOf=${(/** @type {any} */ item) => item.queue} />
    <p class="faint">
      The queues are those of all tenants. Messages count with those that are being processed; one is a
      part of an import. Looked at: <${LocalTime} time=${state.checkedAt} />
    </p>
  `;
}
