import { formatCount, formatShare } from "../formatting.js";
import { html } from "../html.js";

/**
 * @param {Record<string, number>} rows The counts of an import.
 * @returns {{ key: string, title: string, count: number }[]} Its parts, which together are all rows.
 */
export function outcomeParts(rows) {
  const total = rows["total"] ?? 0;
  const failed = rows["failed"] ?? 0;
  const cancelled = rows["cancelled"] ?? 0;
  const repaired = Math.min(rows["repaired"] ?? 0, failed);
  // Rows that a cancel ended are failed rows too.
  const ended = Math.min(cancelled, Math.max(failed - repaired, 0));
  const parts = [
    { key: "new", title: "new", count: rows["new"] ?? 0 },
    { key: "updated", title: "updated", count: rows["updated"] ?? 0 },
    { key: "reversed", title: "put back", count: rows["reversed"] ?? 0 },
    { key: "unchanged", title: "unchanged", count: rows["unchanged"] ?? 0 },
    { key: "repaired", title: "failed, repaired since", count: repaired },
    { key: "cancelled", title: "ended by the cancel", count: ended },
    { key: "failed", title: "failed", count: failed - repaired - ended },
  ];
  const waiting = total - (rows["done"] ?? total);
  return [...parts, { key: "waiting", title: "not done yet", count: waiting }].filter((part) => part.count > 0);
}

/**
 * One bar with a part for each outcome, and the same in words and numbers.
 *
 * @param {{ rows: Record<string, number> }} properties
 */
export function OutcomeChart({ rows }) {
  const parts = outcomeParts(rows);
  const total = rows["total"] ?? 0;
  let start = 0;
  const placed = parts.map((part) => {
    const width = (100 * part.count) / Math.max(total, 1);
    start += width;
    return { ...part, x: start - width, width };
  });
  return html`
    <figure class="outcome">
      <svg class="outcome-bar" aria-hidden="true" width="100%" height="18" preserveAspectRatio="none">
        ${placed.map((part) => html`
          <rect key=${part.key} class=${`part-${part.key}`} x=${`${part.x}%`} width=${`${part.width}%`} height="18"></rect>
        `)}
      </svg>
      <figcaption>
        <ul class="legend">
          ${parts.map((part) => html`
            <li key=${part.key}>
              <svg class="swatch" aria-hidden="true" width="10" height="10"><rect class=${`part-${part.key}`} width="10" height="10"></rect></svg>
              <span class="legend-count">${formatCount(part.count)}</span> ${part.title}
              <span class="faint"> ${formatShare(part.count, total)}</span>
            </li>
          `)}
        </ul>
      </figcaption>
    </figure>
  `;
}
