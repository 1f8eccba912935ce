import { html, useState } from "../html.js";

/**
 * The pages of a list that is read with `continuation`: it knows the way back.
 *
 * @param {string} key Another key starts at the first page.
 */
export function usePages(key) {
  const [state, setState] = useState({ key, path: /** @type {string[]} */ ([""]) });
  const path = state.key === key ? state.path : [""];
  return {
    continuation: path[path.length - 1] ?? "",
    number: path.length,
    /** @param {string} continuation */
    next: (continuation) => setState({ key, path: [...path, continuation] }),
    previous: () => setState({ key, path: path.length > 1 ? path.slice(0, -1) : path }),
    first: () => setState({ key, path: [""] }),
  };
}

/**
 * @param {{ pages: ReturnType<typeof usePages>, continuation: string | null | undefined,
 *   label: string }} properties `continuation` is the one of the page that is shown.
 */
export function Pager({ pages, continuation, label }) {
  if (pages.number === 1 && !continuation) return null;
  return html`
    <nav class="pager" aria-label=${label}>
      <button type="button" class="secondary small" disabled=${pages.number === 1} onClick=${pages.previous}>
        Previous
      </button>
      <span aria-live="polite">Page ${pages.number}</span>
      <button type="button" class="secondary small" disabled=${!continuation}
        onClick=${() => continuation && pages.next(continuation)}>
        Next
      </button>
    </nav>
  `;
}
