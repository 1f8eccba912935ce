import { html, useEffect, useRef } from "../html.js";

let dialogs = 0;

/**
 * A question before something is done. Escape and Close close it; the focus returns to where it was.
 *
 * @param {{ title: string, confirm: string, isBusy?: boolean, isDisabled?: boolean,
 *   isDangerous?: boolean, onConfirm: () => void, onClose: () => void, children?: any }} properties
 */
export function ConfirmDialog({
  title, confirm, isBusy = false, isDisabled = false, isDangerous = false, onConfirm, onClose, children,
}) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const heading = useRef("");
  heading.current ||= `dialog-${(dialogs += 1)}`;
  useEffect(() => {
    const before = document.activeElement;
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      // Nothing behind an open dialog can take the focus.
      shown?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  /** @param {Event} event */
  const close = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`
    <dialog ref=${dialog} aria-labelledby=${heading.current} onCancel=${close}>
      <article>
        <h2 id=${heading.current}>${title}</h2>
        ${children}
        <footer>
          <button type="button" class="secondary" onClick=${onClose}>Close</button>
          <button type="button" class=${isDangerous ? "danger" : ""} aria-busy=${isBusy ? "true" : "false"}
            disabled=${isBusy || isDisabled} onClick=${onConfirm}>
            ${confirm}
          </button>
        </footer>
      </article>
    </dialog>
  `;
}
