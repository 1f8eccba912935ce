/**
 * @file Numbers as the sender wrote them. JavaScript keeps 15 to 17 digits of a number and drops
 * its last zeros; an amount that is shown, or sent again with a corrected row, must keep them all.
 */

/** A number in its JSON text, for texts that JavaScript would write in another way. */
export class ExactNumber {
  /** @param {string} source Its JSON text. */
  constructor(source) {
    this.source = source;
  }

  toString() {
    return this.source;
  }

  valueOf() {
    return Number(this.source);
  }

  /** What JSON.stringify takes: the text itself, where the browser can do that. */
  toJSON() {
    const { rawJSON } = /** @type {{ rawJSON?: (text: string) => unknown }} */ (/** @type {any} */ (JSON));
    return rawJSON ? rawJSON(this.source) : Number(this.source);
  }
}

/**
 * @param {string} text
 * @returns {any} The value of a JSON text.
 */
export function parseExactly(text) {
  const parse = /** @type {(text: string, reviver: (key: string, value: any, context?: { source?: string }) => any) => any} */ (
    JSON.parse
  );
  return parse(text, (_key, value, context) => {
    if (typeof value !== "number" || context?.source === undefined) return value;
    return String(value) === context.source ? value : new ExactNumber(context.source);
  });
}
