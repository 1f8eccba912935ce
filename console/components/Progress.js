import { countOf, formatCount, formatDuration, formatRate, formatShare } from "../formatting.js";
import { html } from "../html.js";

/**
 * A bar with what it means in words.
 *
 * @param {{ label: string, done: number, total: number, unit?: string, rate?: number | null,
 *   secondsLeft?: number | null }} properties
 */
export function Progress({ label, done, total, unit = "row", rate, secondsLeft }) {
  const words = [
    `${formatCount(done)} of ${countOf(total, unit)}`,
    formatShare(done, total),
    rate ? formatRate(rate) : "",
    secondsLeft !== null && secondsLeft !== undefined ? `${formatDuration(secondsLeft)} left` : "",
  ].filter(Boolean).join(" · ");
  return html`
    <div class="progress">
      <progress aria-label=${label} max=${Math.max(total, 1)} value=${done}>${words}</progress>
      <span class="progress-words">${words}</span>
    </div>
  `;
}
