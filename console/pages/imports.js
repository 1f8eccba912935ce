import { DataTable } from "../components/DataTable.js";
import { LocalTime } from "../components/LocalTime.js";
import { ErrorNotice } from "../components/Notice.js";
import { Pager, usePages } from "../components/Pager.js";
import { StateLabel } from "../components/StateLabel.js";
import { formatCaller, formatCount } from "../formatting.js";
import { html } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf } from "../routes.js";

/** @param {import("../main.js").PageProperties} properties */
export function ImportsPage({ gateway }) {
  const pages = usePages("");
  const list = useLoaded(
    (signal) => gateway.get("/api/imports", { pageSize: 50, continuation: pages.continuation }, { signal }),
    [pages.continuation],
    5,
  );
  const columns = [
    { key: "importId", title: "Import", isHeader: true, render: (/** @type {any} */ item) => html`<a href=${hashOf("/imports/{importId}", item)}>${item.source || item.type}</a>` },
    { key: "type", title: "Type" },
    { key: "state", title: "State", render: (/** @type {any} */ item) => html`<${StateLabel} state=${item.state} />` },
    { key: "total", title: "Rows", isNumber: true, render: (/** @type {any} */ item) => formatCount(item.rows.total) },
    { key: "failed", title: "Failed", isNumber: true, render: (/** @type {any} */ item) => formatCount(item.rows.failed) },
    { key: "caller", title: "Sent by", render: (/** @type {any} */ item) => formatCaller(item.caller) },
    { key: "acceptedAt", title: "Accepted", render: (/** @type {any} */ item) => html`<${LocalTime} time=${item.acceptedAt} />` },
  ];
  return html`
    <h1>Imports</h1>
    <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
    ${list.value && html`
      <${DataTable} label="Imports" columns=${columns} items=${list.value.items}
        keyOf=${(/** @type {any} */ item) => item.importId} empty="No import yet." />
      <${Pager} pages=${pages} continuation=${list.value.continuation} label="Pages of imports" />
    `}
  `;
}
