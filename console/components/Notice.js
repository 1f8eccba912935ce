import { html } from "../html.js";

/**
 * A message to the reader. An error is read out at once, any other when there is a pause.
 *
 * @param {{ kind?: "info" | "success" | "warning" | "error", title?: any, children?: any }} properties
 */
export function Notice({ kind = "info", title, children }) {
  return html`
    <div class=${`notice notice-${kind}`} role=${kind === "error" ? "alert" : "status"}>
      ${title && html`<strong>${title}</strong>`}
      <div>${children}</div>
    </div>
  `;
}

/**
 * What went wrong, and a button to try again.
 *
 * @param {{ error: any, onRetry?: () => void, title?: string }} properties
 */
export function ErrorNotice({ error, onRetry, title }) {
  if (!error) return null;
  const heading = title ?? (error.isForbidden ? "You may not do this" : "That did not work");
  return html`
    <${Notice} kind=${error.isForbidden ? "warning" : "error"} title=${heading}>
      <p class="message">${error.message}</p>
      ${error.correlationId && html`
        <p class="faint">For the operator of the gateway: correlation id <code>${error.correlationId}</code></p>
      `}
      ${onRetry && html`<button type="button" class="secondary small" onClick=${onRetry}>Try again</button>`}
    <//>
  `;
}
