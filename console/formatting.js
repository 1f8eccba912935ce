/** @file Numbers, times and names as the pages show them. */

import { ExactNumber } from "./exact_numbers.js";

const COUNT = new Intl.NumberFormat("en-GB");
const RATE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const SHARE = new Intl.NumberFormat("en-GB", { style: "percent", maximumFractionDigits: 1 });
const DAY_AND_TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** @param {number} value */
export function formatCount(value) {
  return COUNT.format(value);
}

/** @param {number} value Rows in a second. */
export function formatRate(value) {
  return `${RATE.format(value)} rows/s`;
}

/**
 * @param {number} part
 * @param {number} whole
 */
export function formatShare(part, whole) {
  return SHARE.format(whole === 0 ? 0 : part / whole);
}

/**
 * `1 row`, `2,000 rows`.
 *
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function countOf(count, one, many = `${one}s`) {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** @param {number} seconds */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  if (bytes < 1024) return `${formatCount(bytes)} B`;
  if (bytes < 1024 * 1024) return `${formatCount(Math.round(bytes / 1024))} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/** @param {string} time ISO 8601, as the gateway writes it. */
export function formatLocal(time) {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? time : DAY_AND_TIME.format(at);
}

/** @param {string} time */
export function formatUtc(time) {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? time : `${at.toISOString().replace("T", " ").slice(0, 19)} UTC`;
}

/**
 * Who made an import or a record change.
 *
 * @param {Record<string, string> | null | undefined} caller
 */
export function formatCaller(caller) {
  if (!caller) return "unknown";
  const [kind, name] = Object.entries(caller)[0] ?? ["", ""];
  return { integration: name, client: `client ${name}`, command: `command of ${name}`, drop: `file ${name}` }[
    kind
  ] ?? `${kind} ${name}`;
}

/**
 * A value of a row or record as text; objects and lists as JSON.
 *
 * @param {any} value
 */
export function formatValue(value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "object" && !(value instanceof ExactNumber)) return JSON.stringify(value);
  return String(value);
}
