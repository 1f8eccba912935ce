/** @file Asking the gateway from a component: the former answer stays while a new one is fetched. */

import { isAborted } from "./gateway.js";
import { useCallback, useEffect, useRef, useState } from "./html.js";

/**
 * @template Value
 * @typedef {object} Loaded
 * @property {Value | undefined} value The last answer.
 * @property {any} error Why the last call failed, null where it did not.
 * @property {boolean} isLoading
 * @property {() => void} reload
 */

/**
 * Load a value when the component appears, when `inputs` change, and every `seconds`.
 *
 * @template Value
 * @param {(signal: AbortSignal) => Promise<Value>} load
 * @param {any[]} inputs Another value of one of them drops the last answer.
 * @param {number | null | ((value: Value | undefined) => number | null)} [seconds] Null: not again.
 *   A hidden page waits until it is seen.
 * @param {string | number} [revision] Another value loads again and keeps the last answer meanwhile.
 * @returns {Loaded<Value>}
 */
export function useLoaded(load, inputs, seconds = null, revision = "") {
  const [state, setState] = useState(
    /** @returns {{ value: Value | undefined, error: any, isLoading: boolean, key: string }} */
    () => ({ value: undefined, error: null, isLoading: true, key: "" }),
  );
  const [round, setRound] = useState(0);
  const key = JSON.stringify(inputs);
  const latest = useRef(load);
  latest.current = load;

  useEffect(() => {
    const controller = new AbortController();
    setState((before) => ({
      ...before, value: before.key === key ? before.value : undefined, isLoading: true, key,
    }));
    latest.current(controller.signal).then(
      (value) => {
        if (!controller.signal.aborted) setState({ value, error: null, isLoading: false, key });
      },
      (error) => {
        if (controller.signal.aborted || isAborted(error)) return;
        setState((before) => ({ ...before, error, isLoading: false }));
      },
    );
    return () => controller.abort();
  }, [key, round, revision]);

  const reload = useCallback(() => setRound((before) => before + 1), []);
  const isCurrent = state.key === key;
  const value = isCurrent ? state.value : undefined;
  const pause = typeof seconds === "function" ? seconds(value) : seconds;

  useEffect(() => {
    if (pause === null || state.isLoading) return undefined;
    const timer = setTimeout(() => {
      if (document.visibilityState === "visible") reload();
      else document.addEventListener("visibilitychange", reload, { once: true });
    }, pause * 1000);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", reload);
    };
  }, [pause, state, reload]);

  return { value, error: isCurrent ? state.error : null, isLoading: state.isLoading || !isCurrent, reload };
}
