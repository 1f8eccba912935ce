/** @file Addresses of pages: the hash of the address, with encoded parameters. */

/**
 * @template Entry
 * @typedef {object} Route
 * @property {Entry} entry
 * @property {string} path The path of the hash, without its query.
 * @property {Record<string, string>} parameters
 * @property {Record<string, string>} query
 */

/**
 * @template {{ path: string }} Entry
 * @param {string} hash `#/imports/ID?name=value`
 * @param {Entry[]} entries
 * @returns {Route<Entry> | null} Null where no page has the address.
 */
export function parseRoute(hash, entries) {
  const [path = "", search = ""] = hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean);
  for (const entry of entries) {
    const names = entry.path.split("/").filter(Boolean);
    const parameters = match(names, parts);
    if (parameters) {
      return { entry, path, parameters, query: Object.fromEntries(new URLSearchParams(search)) };
    }
  }
  return null;
}

/**
 * @param {string} path With `{names}`.
 * @param {Record<string, string>} [parameters] Values of the names; they are encoded.
 * @param {Record<string, string>} [query] Empty values are left out.
 * @returns {string} The hash: the value of an `href`.
 */
export function hashOf(path, parameters = {}, query = {}) {
  const filled = path.replace(/\{(\w+)\}/g, (_all, name) => encodeURIComponent(parameters[name] ?? ""));
  const pairs = Object.entries(query).filter(([, value]) => value !== "");
  return `#${filled}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

/**
 * Change the query of the page that is shown, without a new entry in the browser's history.
 *
 * @param {Record<string, string>} query Empty values are left out.
 */
export function replaceQuery(query) {
  const path = (location.hash.replace(/^#/, "") || "/imports").split("?", 1)[0] ?? "";
  history.replaceState(null, "", hashOf(path, {}, query));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/**
 * @param {string[]} names
 * @param {string[]} parts
 * @returns {Record<string, string> | null}
 */
function match(names, parts) {
  if (names.length !== parts.length) return null;
  /** @type {Record<string, string>} */
  const parameters = {};
  for (const [at, name] of names.entries()) {
    const part = parts[at] ?? "";
    if (name.startsWith("{")) {
      const value = decoded(part);
      // A path of a call would lose a part of this name: the browser takes it for a way up.
      if (value === null || value === "." || value === "..") return null;
      parameters[name.slice(1, -1)] = value;
    } else if (name !== part) {
      return null;
    }
  }
  return parameters;
}

/**
 * @param {string} part
 * @returns {string | null} Null where it is not encoded as a part of an address.
 */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}
