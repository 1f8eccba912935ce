/** @file Files that are sent: what kind a chosen file is, and what goes with it. */

/**
 * @typedef {object} FileKind
 * @property {string} name
 * @property {string} contentType
 * @property {boolean} isText Its charset can be named.
 * @property {boolean} isCompressed
 */

/** @type {{ endings: string[], name: string, contentType: string, isText: boolean }[]} */
const KINDS = [
  { endings: [".csv"], name: "CSV", contentType: "text/csv", isText: true },
  { endings: [".tsv"], name: "CSV", contentType: "text/tab-separated-values", isText: true },
  { endings: [".ndjson", ".jsonl"], name: "NDJSON", contentType: "application/x-ndjson", isText: true },
  { endings: [".json"], name: "JSON", contentType: "application/json", isText: false },
  {
    endings: [".xlsx"], name: "spreadsheet", isText: false,
    contentType: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  },
  { endings: [".xml"], name: "XML", contentType: "application/xml", isText: false },
];

/** The endings of the files that hold rows. */
export const ROW_FILES = KINDS.flatMap((kind) => kind.endings).concat(".gz").join(",");

/**
 * @param {string} fileName
 * @returns {FileKind | null} Null where the ending is none that the gateway reads.
 */
export function kindOfFile(fileName) {
  const lower = fileName.toLowerCase();
  const isCompressed = lower.endsWith(".gz");
  const plain = isCompressed ? lower.slice(0, -3) : lower;
  const kind = KINDS.find(({ endings }) => endings.some((ending) => plain.endsWith(ending)));
  return kind ? { name: kind.name, contentType: kind.contentType, isText: kind.isText, isCompressed } : null;
}

/**
 * @param {string} fileName
 * @returns {string} The value of Content-Disposition that tells the gateway the name.
 */
export function disposition(fileName) {
  const encoded = encodeURIComponent(fileName.replace(/\p{Surrogate}/gu, "\ufffd")).replace(
    /['()*!]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename*=UTF-8''${encoded}`;
}

/**
 * Whether a file can still be read: the browser refuses one that was changed after it was chosen.
 *
 * @param {File} file
 */
export async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** A key for one act of the reader, so that a repeated call does the act once. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
