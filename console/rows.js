/** @file Rows as they were sent: the values at the paths of messages, and corrected values. */

import { ExactNumber, parseExactly } from "./exact_numbers.js";

/**
 * The steps of a path as messages write it: `Rates[1].RateCode`.
 *
 * @param {string} path
 * @returns {(string | number)[]}
 */
export function stepsOf(path) {
  return [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((found) => found[1] === undefined ? String(found[2]) : Number(found[1]));
}

/**
 * The name under which an object has a property: names match in any case.
 *
 * @param {any} node
 * @param {string | number} step
 * @returns {string | number | undefined}
 */
function nameIn(node, step) {
  if (Array.isArray(node)) return typeof step === "number" && step < node.length ? step : undefined;
  if (node === null || typeof node !== "object" || node instanceof ExactNumber) return undefined;
  const text = String(step);
  if (Object.hasOwn(node, text)) return text;
  return Object.keys(node).find((name) => name.toLowerCase() === text.toLowerCase());
}

/**
 * @param {any} row
 * @param {string} path
 * @returns {any} The value there; undefined where the row has none.
 */
export function valueAt(row, path) {
  // A column of a sender's own layout may have dots in its name.
  const whole = nameIn(row, path);
  if (whole !== undefined) return row[whole];
  let node = row;
  for (const step of stepsOf(path)) {
    const name = nameIn(node, step);
    if (name === undefined) return undefined;
    node = node[name];
  }
  return node;
}

/**
 * @param {any} row
 * @param {string} path
 * @param {any} value Undefined takes the property away.
 * @returns {any} A copy of the row with that value.
 */
export function withValue(row, path, value) {
  const whole = nameIn(row, path);
  return changed(row, whole === undefined ? stepsOf(path) : [whole], value);
}

/**
 * @param {any} node
 * @param {(string | number)[]} steps
 * @param {any} value
 * @returns {any}
 */
function changed(node, steps, value) {
  const [step, ...rest] = steps;
  if (step === undefined) return value;
  const name = nameIn(node, step) ?? step;
  /** @type {any} */
  const copy = Array.isArray(node) ? [...node] : { ...(node instanceof ExactNumber ? {} : node) };
  const next = changed(node?.[name] ?? (typeof rest[0] === "number" ? [] : {}), rest, value);
  if (next === undefined) delete copy[name];
  // An assignment to the name __proto__ would set no property.
  else Object.defineProperty(copy, name, { value: next, configurable: true, enumerable: true, writable: true });
  return copy;
}

/**
 * All values of a row by their paths; an empty object or list is a value too.
 *
 * @param {any} row
 * @param {string} [path]
 * @returns {[string, any][]}
 */
export function leavesOf(row, path = "") {
  if (Array.isArray(row) && row.length > 0) {
    return row.flatMap((item, at) => leavesOf(item, `${path}[${at}]`));
  }
  const isObject = row !== null && typeof row === "object" && !Array.isArray(row) && !(row instanceof ExactNumber);
  if (isObject && (Object.keys(row).length > 0 || path === "")) {
    return Object.entries(row).flatMap(([name, item]) => leavesOf(item, path ? `${path}.${name}` : name));
  }
  return [[path, row]];
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/**
 * The value of a text that was typed into a cell.
 *
 * An empty cell is a field that is not sent. The schema decides what a text means, so that `007` stays
 * a text in a field of text; a text that does not fit stays a text, and the gateway says so.
 *
 * @param {string} text
 * @param {Set<string>} types The types of the field in the schema; empty where it is not known.
 * @param {any} before The value as it was sent.
 * @returns {any}
 */
export function valueOfText(text, types, before) {
  if (text === "") return undefined;
  const isKnown = types.size > 0;
  /** @param {string[]} names */
  const may = (...names) => names.some((name) => types.has(name));
  if (text === "null" && (!isKnown || may("null"))) return null;
  const wasNumber = typeof before === "number" || before instanceof ExactNumber;
  if (NUMBER.test(text) && (isKnown ? may("number", "integer") && !may("string") : wasNumber)) {
    return String(Number(text)) === text ? Number(text) : new ExactNumber(text);
  }
  const isBoolean = text === "true" || text === "false";
  if (isBoolean && (isKnown ? may("boolean") : typeof before === "boolean")) return text === "true";
  if (/^[[{]/.test(text) && (may("array", "object") || (before !== null && typeof before === "object"))) {
    try {
      return parseExactly(text);
    } catch {
      return text;
    }
  }
  return text;
}

/**
 * The JSON types that a schema allows at a path.
 *
 * @param {any} schema The schema of a row.
 * @param {string} path
 * @returns {Set<string>} Empty where the schema does not say it.
 */
export function typesAt(schema, path) {
  let nodes = [schema];
  for (const step of stepsOf(path)) {
    nodes = nodes.flatMap((node) => alternatives(schema, node)).flatMap((node) => {
      if (typeof step === "number") return node.items ? [node.items] : [];
      const name = Object.keys(node.properties ?? {}).find((each) => each.toLowerCase() === step.toLowerCase());
      return name === undefined ? [] : [node.properties[name]];
    });
  }
  const types = nodes.flatMap((node) => alternatives(schema, node)).flatMap((node) => {
    if (node.type !== undefined) return node.type;
    return (node.enum ?? ("const" in node ? [node.const] : [])).map(typeName);
  });
  return new Set(types);
}

/**
 * @param {any} root
 * @param {any} node
 * @param {number} [depth]
 * @returns {any[]} The schema, or those that it refers to or is any of.
 */
function alternatives(root, node, depth = 0) {
  if (node === null || typeof node !== "object" || depth > 8) return [];
  if (typeof node.$ref === "string") {
    /** @type {any} */
    let target = root;
    for (const part of node.$ref.replace(/^#\//, "").split("/")) target = target?.[part];
    return alternatives(root, target, depth + 1);
  }
  const several = node.anyOf ?? node.oneOf ?? node.allOf;
  return several ? several.flatMap((/** @type {any} */ each) => alternatives(root, each, depth + 1)) : [node];
}

/** @param {any} value */
function typeName(value) {
  return value === null ? "null" : typeof value;
}
