/** @file Documents: those of a worker or a round, sending one, and files that were refused. */

import { DataTable } from "../components/DataTable.js";
import { FileDrop } from "../components/FileDrop.js";
import { LocalTime } from "../components/LocalTime.js";
import { OF_MESSAGE } from "../components/MessageText.js";
import { ErrorNotice, Notice } from "../components/Notice.js";
import { Pager, usePages } from "../components/Pager.js";
import { Value } from "../components/Value.js";
import { isReadable, newIdempotencyKey } from "../files.js";
import { formatBytes, formatCaller } from "../formatting.js";
import { GatewayError, isAborted } from "../gateway.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { useLoaded } from "../loading.js";
import { hashOf, replaceQuery } from "../routes.js";
import { saveAs } from "../saving.js";

/** @param {import("../main.js").PageProperties} properties */
export function DocumentsPage({ gateway, query }) {
  const worker = query["worker"] ?? "";
  const round = query["round"] ?? "";
  const [version, setVersion] = useState(0);
  const rounds = useLoaded((signal) => listRounds(gateway, signal), []);
  return html`
    <h1>Documents</h1>
    <${Search} worker=${worker} round=${round} rounds=${rounds.value} />
    <${Stored} key=${`${worker}|${round}|${version}`} gateway=${gateway} worker=${worker} round=${round} />
    <${Sending} gateway=${gateway} worker=${worker} round=${round} rounds=${rounds.value}
      onSent=${() => setVersion((before) => before + 1)} />
    <${Refused} key=${version} gateway=${gateway} />
  `;
}

/**
 * @param {import("../gateway.js").Gateway} gateway
 * @param {AbortSignal} signal
 * @returns {Promise<{ code: string, status: string }[]>} None where the caller may not list them.
 */
async function listRounds(gateway, signal) {
  try {
    return (await gateway.get("/api/admin/rounds", {}, { signal })).rounds;
  } catch (error) {
    if (error instanceof GatewayError) return [];
    throw error;
  }
}

/**
 * @param {{ worker: string, round: string, rounds: { code: string, status: string }[] | undefined }} properties
 */
function Search({ worker, round, rounds }) {
  /** @param {SubmitEvent} event */
  const search = (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    replaceQuery({
      worker: String(form.get("worker") ?? "").trim(), round: String(form.get("round") ?? "").trim(),
    });
  };
  return html`
    <form class="search" onSubmit=${search}>
      <div class="fields">
        <label>Worker <input name="worker" maxlength="60" spellcheck=${false} defaultValue=${worker} placeholder="all" /></label>
        <label>
          Round
          <input name="round" maxlength="60" spellcheck=${false} list="rounds" defaultValue=${round} placeholder="all" />
        </label>
        <datalist id="rounds">
          ${rounds?.map(({ code, status }) => html`<option key=${code} value=${code}>${code} (${status})</option>`)}
        </datalist>
        <button type="submit" class="search-button">Search</button>
      </div>
    </form>
  `;
}

/** @param {{ gateway: import("../gateway.js").Gateway, worker: string, round: string }} properties */
function Stored({ gateway, worker, round }) {
  const pages = usePages("");
  const list = useLoaded(
    (signal) => gateway.get("/api/documents", {
      workerexternalId: worker, communicationRoundCode: round, pageSize: 50, continuation: pages.continuation,
    }, { signal }),
    [pages.continuation],
  );
  const [error, setError] = useState(/** @type {any} */ (null));
  /** @param {any} item */
  const download = async (item) => {
    setError(null);
    try {
      const { blob } = await gateway.download(`/api/documents/${encodeURIComponent(item.documentId)}/content`, "*/*");
      saveAs(blob, item.fileName);
    } catch (failure) {
      if (!isAborted(failure)) setError(failure);
    }
  };
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    {
      key: "fileName", title: "File", isHeader: true, render: (item) => html`
        <button type="button" class="link" title="Download" onClick=${() => download(item)}><${Value} value=${item.fileName} isShort /></button>`,
    },
    { key: "workerexternalId", title: "Worker", render: (item) => html`<${Value} value=${item.workerexternalId} />` },
    { key: "communicationRoundCode", title: "Round", render: (item) => html`<${Value} value=${item.communicationRoundCode} />` },
    { key: "size", title: "Size", isNumber: true, render: (item) => formatBytes(item.size) },
    { key: "generationTime", title: "Generated", render: (item) => html`<${LocalTime} time=${item.generationTime} />` },
    { key: "importTime", title: "Imported", render: (item) => html`<${LocalTime} time=${item.importTime} />` },
    { key: "importId", title: "Import", render: (item) => html`<a href=${hashOf("/imports/{importId}", { importId: item.importId })}>open</a>` },
  ];
  return html`
    ${list.isLoading && !list.value && html`<p aria-busy="true">Searching</p>`}
    <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
    <${ErrorNotice} error=${error} title="The file cannot be downloaded" />
    ${list.value && html`
      <${DataTable} label="Documents" columns=${columns} items=${list.value.items}
        keyOf=${(/** @type {any} */ item) => item.documentId}
        empty=${worker || round ? "There is no document of this worker and round." : "There is no document yet. Send one below, or drop files into the container."} />
      <${Pager} pages=${pages} continuation=${list.value.continuation} label="Pages of documents" />
    `}
  `;
}

/**
 * @param {{ gateway: import("../gateway.js").Gateway, worker: string, round: string,
 *   rounds: { code: string, status: string }[] | undefined, onSent: () => void }} properties
 */
function Sending({ gateway, worker, round, rounds, onSent }) {
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [sent, setSent] = useState(/** @type {number | null} */ (null));
  const [failure, setFailure] = useState(/** @type {any} */ (null));
  const [done, setDone] = useState(/** @type {{ name: string, importId: string, words: string } | null} */ (null));
  // The form that was sent last, with its key: the same form again is the same document once.
  const last = useRef({ identity: "", key: "", time: "" });
  const left = useRef(new AbortController());
  useEffect(() => () => left.current.abort(), []);

  /** @param {SubmitEvent} event */
  const send = async (event) => {
    event.preventDefault();
    if (file === null) return;
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const identity = JSON.stringify([form.get("worker"), form.get("round"), file.name, file.size, file.lastModified]);
    if (last.current.identity !== identity) {
      last.current = { identity, key: newIdempotencyKey(), time: new Date(Math.min(file.lastModified, Date.now() - 1000)).toISOString() };
    }
    const body = new FormData();
    body.set("workerexternalId", String(form.get("worker") ?? "").trim());
    body.set("communicationRoundCode", String(form.get("round") ?? "").trim());
    body.set("generationTime", last.current.time);
    body.set("isSummary", "false");
    body.set("file", file, file.name);
    setFailure(null);
    setDone(null);
    setSent(0);
    try {
      if (!(await isReadable(file))) {
        throw new GatewayError(0, "The file was changed or removed after it was chosen. Choose it again.");
      }
      const answer = await gateway.send("POST", "/api/import/documents", body,
        { "Idempotency-Key": last.current.key }, { onProgress: setSent, signal: left.current.signal });
      const [item] = answer.body?.items ?? [];
      setDone({
        name: file.name,
        importId: answer.headers.get("X-Import-Id") ?? "",
        words: item ? (item.overridden ? "It replaces the stored document of this name." : "It is stored.")
          : "It is stored as soon as an undo or an erasure that is running has ended.",
      });
      setFile(null);
      last.current.identity = "";
      onSent();
    } catch (error) {
      if (isAborted(error)) return;
      setFailure(error);
      // A refused document is listed below with its reason.
      if (error instanceof GatewayError && error.status >= 400 && error.status < 500) onSent();
    }
    setSent(null);
  };
  const isBusy = sent !== null;
  return html`
    <section aria-label="Send a document">
      <h2>Send a document</h2>
      <form onSubmit=${send}>
        <div class="fields">
          <label>
            Worker <input name="worker" required maxlength="60" spellcheck=${false} defaultValue=${worker} />
          </label>
          <label>
            Round <input name="round" required maxlength="60" spellcheck=${false} list="open-rounds" defaultValue=${round} />
          </label>
          <datalist id="open-rounds">
            ${rounds?.filter(({ status }) => status === "Open" || status === "In Progress").map(({ code, status }) => html`
              <option key=${code} value=${code}>${code} (${status})</option>
            `)}
          </datalist>
        </div>
        <${FileDrop} label="File" file=${file} onFile=${setFile}
          hint="The reference of the worker is the ExternalWorkerRef, else the PersonnelRef." />
        <div class="actions">
          <button type="submit" disabled=${file === null || isBusy} aria-busy=${isBusy ? "true" : "false"}>Send</button>
          <span class="faint">A file of the same name replaces the one of this worker and round.</span>
        </div>
      </form>
      ${isBusy && file && html`
        <div class="progress" role="status">
          <progress aria-label=${`Sending ${file.name}`} max=${file.size} value=${sent < file.size ? sent : undefined}></progress>
          <span class="progress-words">${sent < file.size ? `${formatBytes(sent)} of ${formatBytes(file.size)} sent` : "Sent. The gateway stores the file."}</span>
        </div>
      `}
      <${ErrorNotice} error=${failure} title="The document was not imported" />
      ${done && html`
        <${Notice} kind="success" title=${html`<${Value} value=${done.name} />`}>
          ${done.words} ${done.importId && html`<a href=${hashOf("/imports/{importId}", { importId: done.importId })}>Open its import</a>`}
        <//>
      `}
    </section>
  `;
}

const MOST_REFUSED = 10;

/**
 * Documents that were sent or dropped and not imported, each with its reason.
 *
 * @param {{ gateway: import("../gateway.js").Gateway }} properties
 */
function Refused({ gateway }) {
  const pages = usePages("");
  const list = useLoaded(async (signal) => {
    const page = await gateway.get("/api/imports", {
      type: "documents", state: "CompletedWithErrors", pageSize: MOST_REFUSED, continuation: pages.continuation,
    }, { signal });
    const items = await Promise.all(page.items.map(async (/** @type {any} */ each) => {
      const path = `/api/imports/${encodeURIComponent(each.importId)}/results`;
      try {
        const [result] = (await gateway.get(path, { outcome: "failed", pageSize: 1 }, { signal })).items;
        return { ...each, key: result?.key ?? {}, reason: result?.messages[0]?.message ?? "" };
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        return { ...each, key: {}, reason: "The reason is not kept any more." };
      }
    }));
    return { items, continuation: page.continuation };
  }, [pages.continuation]);
  /** @type {import("../components/DataTable.js").Column[]} */
  const columns = [
    { key: "source", title: "File", isHeader: true, render: (item) => html`<${Value} value=${item.source ?? item.key.fileName ?? "unnamed"} />` },
    { key: "worker", title: "Worker", render: (item) => html`<${Value} value=${item.key.workerexternalId ?? ""} />` },
    { key: "round", title: "Round", render: (item) => html`<${Value} value=${item.key.communicationRoundCode ?? ""} />` },
    { key: "reason", title: "Reason", render: (item) => html`<div class="wide"><${Value} value=${item.reason} most=${OF_MESSAGE} /></div>` },
    { key: "caller", title: "Sent by", render: (item) => (item.caller?.drop ? "dropped" : html`<${Value} value=${formatCaller(item.caller)} />`) },
    { key: "acceptedAt", title: "Accepted", render: (item) => html`<${LocalTime} time=${item.acceptedAt} />` },
    { key: "importId", title: "Import", render: (item) => html`<a href=${hashOf("/imports/{importId}", { importId: item.importId })}>open</a>` },
  ];
  return html`
    <section aria-label="Refused">
      <h2>Refused</h2>
      <p class="faint">
        Documents that were sent or dropped and are not stored. A dropped file lies in the container
        document-rejected: correct what the reason says, and drop it again.
      </p>
      <${ErrorNotice} error=${list.error} onRetry=${list.reload} />
      ${list.value && html`
        <${DataTable} label="Refused documents" columns=${columns} items=${list.value.items}
          keyOf=${(/** @type {any} */ item) => item.importId} empty="No document was refused." />
        <${Pager} pages=${pages} continuation=${list.value.continuation} label="Pages of refused documents" />
      `}
    </section>
  `;
}
