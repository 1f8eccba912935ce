import { Gateway } from "../gateway.js";
import { html, useState } from "../html.js";
import { ErrorNotice, Notice } from "./Notice.js";

/**
 * The form for a key pair or for the id and secret of a client.
 *
 * @param {{ onSignedIn: (gateway: Gateway) => void, onSignedOut: (error: any) => void,
 *   reason?: string }} properties `reason`: why the caller is asked again.
 */
export function SignIn({ onSignedIn, onSignedOut, reason }) {
  const [kind, setKind] = useState(/** @type {"keys" | "client"} */ ("keys"));
  const [error, setError] = useState(/** @type {any} */ (null));
  const [isBusy, setBusy] = useState(false);
  const isKeys = kind === "keys";

  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    /** @param {string} name */
    const text = (name) => String(form.get(name) ?? "").trim();
    const gateway = new Gateway(
      isKeys
        ? { kind: "keys", functionKey: text("secret"), softwareKey: text("name") }
        : { kind: "client", clientId: text("name"), clientSecret: text("secret") },
      onSignedOut,
    );
    setBusy(true);
    setError(null);
    try {
      await gateway.signIn();
      onSignedIn(gateway);
    } catch (refusal) {
      gateway.forget();
      setError(refusal);
      setBusy(false);
    }
  };

  return html`
    <section class="sign-in">
      <h1>Sign in</h1>
      ${reason && html`<${Notice} kind="warning" title="You are signed out">${reason}<//>`}
      <form onSubmit=${submit} autocomplete="off">
        <fieldset>
          <legend>With</legend>
          <label><input type="radio" name="kind" checked=${isKeys} onChange=${() => setKind("keys")} /> the key pair of an integration</label>
          <label><input type="radio" name="kind" checked=${!isKeys} onChange=${() => setKind("client")} /> the id and secret of a client</label>
        </fieldset>
        <label>
          ${isKeys ? "Software key" : "Client id"}
          <input name="name" required autocomplete="off" spellcheck=${false} autocapitalize="none" />
        </label>
        <label>
          ${isKeys ? "Function key" : "Client secret"}
          <input name="secret" type="password" required autocomplete="off" spellcheck=${false} />
        </label>
        <button type="submit" aria-busy=${isBusy ? "true" : "false"} disabled=${isBusy}>Sign in</button>
      </form>
      <${ErrorNotice} error=${error} title="The gateway did not accept this" />
      <p class="faint">
        The administrator of your tenant hands these out. The page keeps them in its memory only: a
        reload or a closed tab forgets them.
      </p>
    </section>
  `;
}
