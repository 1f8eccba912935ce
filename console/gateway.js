/**
 * @file The client of the gateway's published calls. It keeps the credentials in the memory of the
 * page, in a private field: nothing is written to a storage of the browser, and a reload forgets.
 */

import { parseExactly } from "./exact_numbers.js";

/**
 * @typedef {{ kind: "keys", functionKey: string, softwareKey: string }} KeyPair
 * @typedef {{ kind: "client", clientId: string, clientSecret: string }} ClientCredentials
 * @typedef {KeyPair | ClientCredentials} Credentials
 */

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {Headers} headers
 * @property {any} body The JSON of the answer, or its text where it is not JSON.
 */

/** @typedef {Record<string, string | number | boolean | null | undefined>} Query */

/**
 * @typedef {object} SendOptions
 * @property {(sent: number, total: number) => void} [onProgress] Called while the body is sent.
 * @property {AbortSignal} [signal]
 * @property {boolean} [isExact] As for `get`.
 */

const RENEW_BEFORE_SECONDS = 60;

/** A refusal of the gateway, or that it could not be reached (`status` 0). */
export class GatewayError extends Error {
  /**
   * @param {number} status
   * @param {string} message What is wrong and what to do.
   * @param {{ errors?: any[], correlationId?: string, body?: any }} [details]
   */
  constructor(status, message, { errors = [], correlationId = "", body = null } = {}) {
    super(message);
    this.name = "GatewayError";
    this.status = status;
    this.errors = errors;
    this.correlationId = correlationId;
    this.body = body;
  }

  /** Whether the caller may not do this. */
  get isForbidden() {
    return this.status === 403;
  }
}

/** @returns {string} A value of Idempotency-Key: a call that is sent twice then runs once. */
export function newIdempotencyKey() {
  // crypto.randomUUID is missing where the page comes over http from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** The calls of one signed-in caller. */
export class Gateway {
  /** @type {Credentials | null} */
  #credentials;
  /** @type {{ text: string, renewAt: number } | null} */
  #token = null;
  /** @type {Promise<string> | null} */
  #tokenOnItsWay = null;
  #ended = new AbortController();
  #isSignedIn = false;
  /** @type {(error: GatewayError) => void} */
  #onSignedOut;
  /** @type {string[]} */
  #scopes = [];
  /** @type {Map<string, string>} Actions that the caller may not do, with what the gateway said. */
  #refusals = new Map();

  /**
   * @param {Credentials} credentials
   * @param {(error: GatewayError) => void} [onSignedOut] Called when the gateway takes the
   *   credentials no more.
   */
  constructor(credentials, onSignedOut = () => {}) {
    this.#credentials = credentials;
    this.#onSignedOut = onSignedOut;
  }

  /** The name of the caller: the software key or the client id. */
  get caller() {
    const credentials = this.#credentials;
    if (credentials === null) return "";
    return credentials.kind === "keys" ? credentials.softwareKey : credentials.clientId;
  }

  /** The scopes of a client's token; null for a key pair. */
  get scopes() {
    return this.#credentials?.kind === "client" ? this.#scopes : null;
  }

  /**
   * Remember that the caller may not do something, so that its buttons can say so from then on.
   *
   * @param {string} action
   * @param {unknown} error
   */
  noteRefusal(action, error) {
    if (error instanceof GatewayError && error.isForbidden) this.#refusals.set(action, error.message);
  }

  /**
   * @param {string} action
   * @returns {string} Why the caller may not do this, as far as it is known; else empty.
   */
  refusalOf(action) {
    return this.#refusals.get(action) ?? "";
  }

  /**
   * Check the credentials. Throws GatewayError where the gateway does not take them.
   */
  async signIn() {
    if (this.#credentials?.kind === "client") {
      await this.#bearer();
    } else {
      // Every integration may follow imports, whatever its permissions are.
      await this.get("/api/imports", { pageSize: 1 });
    }
    this.#isSignedIn = true;
  }

  /** Forget the credentials, and end the calls that are on their way. */
  forget() {
    this.#credentials = null;
    this.#token = null;
    this.#scopes = [];
    this.#refusals.clear();
    this.#ended.abort();
  }

  /**
   * @param {string} path
   * @param {Query} [query] Names without a value are left out.
   * @param {{ signal?: AbortSignal, isExact?: boolean }} [options] `isExact`: numbers with more
   *   digits than JavaScript keeps, or another notation, come as ExactNumber (rows and records).
   * @returns {Promise<any>} The JSON of the answer.
   */
  async get(path, query = {}, { signal, isExact = false } = {}) {
    const headers = { Accept: "application/json" };
    const response = await this.#call("GET", addressOf(path, query), { signal, headers });
    return (await readAnswer(response, isExact)).body;
  }

  /**
   * @param {string} method
   * @param {string} path With its query, see `addressOf`.
   * @param {any} [body] A Blob, a FormData, text or bytes are sent as they are, other values as JSON.
   * @param {Record<string, string>} [headers]
   * @param {SendOptions} [options]
   * @returns {Promise<Answer>}
   */
  async send(method, path, body = null, headers = {}, options = {}) {
    const isRaw = body === null || typeof body === "string" || body instanceof Blob
      || body instanceof FormData || body instanceof ArrayBuffer || body instanceof Uint8Array;
    const content = isRaw ? body : JSON.stringify(body);
    const own = isRaw ? headers : { "Content-Type": "application/json", ...headers };
    const response = await this.#call(method, path, { ...options, body: content, headers: own });
    return readAnswer(response, options.isExact);
  }

  /**
   * @param {string} path
   * @param {string} accept The media type to ask for.
   * @returns {Promise<{ blob: Blob, headers: Headers }>}
   */
  async download(path, accept) {
    const response = await this.#call("GET", path, { headers: { Accept: accept } });
    if (!response.ok) await readAnswer(response);
    return { blob: await response.blob(), headers: response.headers };
  }

  /**
   * The pages of a list, one after another, for as long as they are asked for.
   *
   * @param {string} path
   * @param {Query} [query]
   * @returns {AsyncGenerator<{ items: any[], continuation: string | null }>}
   */
  async *pages(path, query = {}) {
    /** @type {string | null} */
    let continuation = "";
    while (continuation !== null) {
      /** @type {{ items: any[], continuation: string | null }} */
      const page = await this.get(path, { ...query, continuation });
      yield page;
      continuation = page.continuation;
    }
  }

  /**
   * @param {string} path
   * @param {Query} [query]
   * @returns {AsyncGenerator<any>} The items of all pages.
   */
  async *items(path, query = {}) {
    for await (const page of this.pages(path, query)) yield* page.items;
  }

  /**
   * @param {string} method
   * @param {string} address
   * @param {{ body?: any, headers?: Record<string, string> } & SendOptions} options
   * @returns {Promise<Response>}
   */
  async #call(method, address, { body = null, headers = {}, onProgress, signal }) {
    const ended = signal ? AbortSignal.any([signal, this.#ended.signal]) : this.#ended.signal;
    for (let attempt = 1; ; attempt += 1) {
      const sent = { ...headers, ...(await this.#ownHeaders()) };
      const response = onProgress
        ? await sendWithProgress(method, address, body, sent, onProgress, ended)
        : await reach(() => fetch(address, {
          method, body, headers: sent, signal: ended, cache: "no-store", credentials: "omit",
          redirect: "error", referrerPolicy: "no-referrer",
        }));
      if (response.status !== 401) return response;
      // A token may have been revoked or have expired early: one new one is asked for.
      if (this.#token !== null && attempt === 1) {
        this.#token = null;
        continue;
      }
      const error = await errorOf(response);
      if (this.#isSignedIn && !ended.aborted) this.#onSignedOut(error);
      throw error;
    }
  }

  /** @returns {Promise<Record<string, string>>} */
  async #ownHeaders() {
    const credentials = this.#credentials;
    if (credentials === null) throw new DOMException("Signed out.", "AbortError");
    if (credentials.kind === "client") return { Authorization: `Bearer ${await this.#bearer()}` };
    return {
      "X-Functions-Key": credentials.functionKey,
      "X-Software-Key": credentials.softwareKey,
    };
  }

  /** @returns {Promise<string>} A token that is valid for a while. */
  async #bearer() {
    if (this.#token !== null && Date.now() < this.#token.renewAt) return this.#token.text;
    this.#tokenOnItsWay ??= this.#newToken().finally(() => { this.#tokenOnItsWay = null; });
    return this.#tokenOnItsWay;
  }

  async #newToken() {
    const credentials = this.#credentials;
    if (credentials?.kind !== "client") throw new DOMException("Signed out.", "AbortError");
    const form = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: credentials.clientId,
      client_secret: credentials.clientSecret,
    });
    const response = await reach(() => fetch("/connect/token", {
      method: "POST", body: form, signal: this.#ended.signal, cache: "no-store",
      credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
    }));
    const isRefused = response.status === 400 || response.status === 401;
    if (isRefused && this.#isSignedIn) this.#onSignedOut(await errorOf(response.clone()));
    const { body } = await readAnswer(response);
    this.#ended.signal.throwIfAborted();
    const seconds = Number(body.expires_in) || 0;
    const left = Math.max(seconds - RENEW_BEFORE_SECONDS, seconds / 2);
    this.#token = { text: String(body.access_token), renewAt: Date.now() + left * 1000 };
    this.#scopes = String(body.scope ?? "").split(" ").filter(Boolean);
    return this.#token.text;
  }
}

/**
 * @param {string} path
 * @param {Query} [query]
 * @returns {string} The address with its query; names without a value are left out.
 */
export function addressOf(path, query = {}) {
  const pairs = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => [name, String(value)]);
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`;
}

/**
 * Whether an error only says that nobody waits for the answer any more.
 *
 * @param {unknown} error
 */
export function isAborted(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * @param {Response} response
 * @param {boolean} [isExact]
 * @returns {Promise<Answer>} Throws GatewayError for a refusal.
 */
async function readAnswer(response, isExact = false) {
  if (!response.ok) throw await errorOf(response);
  const body = await bodyOf(response, isExact);
  return { status: response.status, headers: response.headers, body };
}

/**
 * @param {Response} response
 * @param {boolean} [isExact]
 * @returns {Promise<any>}
 */
async function bodyOf(response, isExact = false) {
  const text = await response.text();
  if (!/[/+]json\b/.test(response.headers.get("Content-Type") ?? "")) return text;
  try {
    return isExact ? parseExactly(text) : JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<GatewayError>}
 */
async function errorOf(response) {
  const body = await bodyOf(response);
  const correlationId = response.headers.get("X-Correlation-Id") ?? "";
  const message = body?.message ?? body?.error_description ?? body?.error;
  return new GatewayError(response.status, String(message || hostMessage(response.status)), {
    errors: Array.isArray(body?.errors) ? body.errors : [], correlationId, body,
  });
}

/**
 * What to say where the answer has no message: it then comes from the host or from a proxy.
 *
 * @param {number} status
 */
function hostMessage(status) {
  if (status >= 500) return `The gateway failed (${status}). Wait a moment and try again.`;
  return `The gateway refused the call (${status}) and gave no reason.`;
}

const UNREACHABLE = "The gateway cannot be reached. Check the network, then try again.";

/**
 * @param {() => Promise<Response>} call
 * @returns {Promise<Response>}
 */
async function reach(call) {
  try {
    return await call();
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new GatewayError(0, UNREACHABLE);
  }
}

/**
 * The same as fetch, with reports of how much of the body is sent: fetch has none.
 *
 * @param {string} method
 * @param {string} address
 * @param {any} body
 * @param {Record<string, string>} headers
 * @param {(sent: number, total: number) => void} onProgress
 * @param {AbortSignal} signal
 * @returns {Promise<Response>}
 */
function sendWithProgress(method, address, body, headers, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.responseType = "arraybuffer";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onerror = () => reject(new GatewayError(0, UNREACHABLE));
    request.onabort = () => reject(new DOMException("Aborted.", "AbortError"));
    request.onload = () => {
      const answered = new Headers();
      for (const line of request.getAllResponseHeaders().trim().split(/[\r\n]+/)) {
        const colon = line.indexOf(":");
        if (colon > 0) answered.append(line.slice(0, colon), line.slice(colon + 1).trim());
      }
      const isEmpty = [204, 205, 304].includes(request.status);
      resolve(new Response(isEmpty ? null : request.response, {
        status: request.status, headers: answered,
      }));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    if (signal.aborted) reject(new DOMException("Aborted.", "AbortError"));
    else request.send(body);
  });
}
