import { formatBytes } from "../formatting.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Value } from "./Value.js";

/**
 * A field for one file: it can be dropped here, or chosen with the browser's dialog.
 *
 * @param {{ label: string, hint?: any, accept?: string, file: File | null,
 *   onFile: (file: File | null) => void }} properties `accept`: the endings that the dialog offers.
 */
export function FileDrop({ label, hint, accept = "", file, onFile }) {
  const [isOver, setOver] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => {
    // The browser would open a file that misses the field, and the page would forget its caller.
    /** @param {Event} event */
    const keep = (event) => event.preventDefault();
    addEventListener("dragover", keep);
    addEventListener("drop", keep);
    return () => {
      removeEventListener("dragover", keep);
      removeEventListener("drop", keep);
    };
  }, []);
  useEffect(() => {
    // The dialog reports a file only if it is another one than before.
    if (file === null && input.current) input.current.value = "";
  }, [file]);

  /** @param {DragEvent} event */
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    // The field of the browser shows the name of its file: it has to be the one that was dropped.
    if (input.current && event.dataTransfer?.files.length === 1) input.current.files = event.dataTransfer.files;
    onFile(event.dataTransfer?.files[0] ?? null);
  };
  return html`
    <label class=${`file-drop ${isOver ? "file-drop-over" : ""}`} onDrop=${drop}
      onDragEnter=${() => setOver(true)} onDragLeave=${() => setOver(false)}>
      <span class="file-drop-label">${label}</span>
      <input type="file" ref=${input} accept=${accept}
        onChange=${(/** @type {any} */ event) => onFile(event.currentTarget.files[0] ?? null)} />
      <span class="faint">
        ${file === null ? html`Drop a file here, or choose one. ${hint}` : html`<${Value} value=${file.name} />, ${formatBytes(file.size)}`}
      </span>
    </label>
  `;
}
