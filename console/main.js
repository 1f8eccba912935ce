/** @file The start of the console: who is signed in, and which page the address names. */

import { ErrorNotice } from "./components/Notice.js";
import { SignIn } from "./components/SignIn.js";
import { html, render, useCallback, useEffect, useErrorBoundary, useRef, useState } from "./html.js";
import { BatchesPage } from "./pages/batches.js";
import { DocumentsPage } from "./pages/documents.js";
import { HealthPage } from "./pages/health.js";
import { ImportPage } from "./pages/import.js";
import { ImportsPage } from "./pages/imports.js";
import { RecordsPage } from "./pages/records.js";
import { UploadPage } from "./pages/upload.js";
import { parseRoute } from "./routes.js";
import { applyTheme, THEMES } from "./theme.js";

/**
 * @typedef {object} PageProperties What every page gets.
 * @property {import("./gateway.js").Gateway} gateway
 * @property {Record<string, string>} parameters The variable parts of the address: `importId`.
 * @property {Record<string, string>} query What stands behind the `?` of the hash.
 */

/**
 * @typedef {object} PageEntry
 * @property {string} path With `{names}` for its parameters.
 * @property {string} title
 * @property {boolean} isInMenu
 * @property {(properties: PageProperties) => any} page
 */

/** @type {PageEntry[]} */
const PAGES = [
  { path: "/imports", title: "Imports", isInMenu: true, page: ImportsPage },
  { path: "/imports/{importId}", title: "Import", isInMenu: false, page: ImportPage },
  { path: "/upload", title: "Upload", isInMenu: true, page: UploadPage },
  { path: "/records", title: "Records", isInMenu: true, page: RecordsPage },
  { path: "/batches", title: "Batches", isInMenu: true, page: BatchesPage },
  { path: "/documents", title: "Documents", isInMenu: true, page: DocumentsPage },
  { path: "/health", title: "Health", isInMenu: true, page: HealthPage },
];
const START = "/imports";

function Console() {
  const [gateway, setGateway] = useState(/** @type {import("./gateway.js").Gateway | null} */ (null));
  const [reason, setReason] = useState("");
  const [hash, setHash] = useState(location.hash);
  const main = useRef(/** @type {HTMLElement | null} */ (null));

  useEffect(() => {
    const follow = () => setHash(location.hash);
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);

  const signOut = useCallback(() => {
    setGateway((before) => {
      before?.forget();
      return null;
    });
    setReason("");
    history.replaceState(null, "", "/console");
    setHash("");
  }, []);
  const expire = useCallback((/** @type {any} */ error) => {
    setGateway((before) => {
      before?.forget();
      return null;
    });
    setReason(error.message);
  }, []);

  const route = parseRoute(hash || `#${START}`, PAGES);
  const title = gateway === null ? "Sign in" : route?.entry.title ?? "Not found";
  useEffect(() => {
    document.title = `${title} · Payroll Import Gateway`;
  }, [title]);
  const place = `${gateway === null}${route?.path ?? ""}`;
  const lastPlace = useRef(place);
  useEffect(() => {
    // Another page begins at its top, and readers of the screen hear its heading.
    if (lastPlace.current === place) return;
    lastPlace.current = place;
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [place]);

  /** @param {Event} event */
  const skip = (event) => {
    // A hash is the address of a page here, so the link must not change it.
    event.preventDefault();
    main.current?.focus();
  };
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="top">
      <span class="product">Payroll Import Gateway</span>
      ${gateway && html`
        <nav aria-label="Pages">
          <ul>
            ${PAGES.filter((entry) => entry.isInMenu).map((entry) => html`
              <li key=${entry.path}>
                <a href=${`#${entry.path}`} aria-current=${route?.entry === entry ? "page" : undefined}>${entry.title}</a>
              </li>
            `)}
          </ul>
        </nav>
      `}
      <div class="top-end">
        <${ThemeChoice} />
        ${gateway && html`
          <span class="caller" title="Signed in as">${gateway.caller}</span>
          <button type="button" class="secondary small" onClick=${signOut}>Sign out</button>
        `}
      </div>
    </header>
    <main id="main" tabindex="-1" ref=${main}>
      ${gateway === null
        ? html`<${SignIn} key="sign-in" reason=${reason} onSignedOut=${expire}
            onSignedIn=${(/** @type {any} */ next) => { setReason(""); setGateway(next); }} />`
        : route === null
          ? html`<h1>Not found</h1><p>The console has no page at this address. <a href=${`#${START}`}>Go to the imports</a></p>`
          : html`<${Page} key=${route.path} route=${route} gateway=${gateway} />`}
    </main>
  `;
}

/**
 * A page; a fault of it leaves the menu usable.
 *
 * @param {{ route: import("./routes.js").Route<PageEntry>, gateway: import("./gateway.js").Gateway }} properties
 */
function Page({ route, gateway }) {
  const [error, reset] = useErrorBoundary((/** @type {any} */ fault) => console.error(fault));
  if (error) {
    return html`<h1>${route.entry.title}</h1><${ErrorNotice} error=${error} onRetry=${reset} title="The page has a fault" />`;
  }
  return html`<${route.entry.page} gateway=${gateway} parameters=${route.parameters} query=${route.query} />`;
}

function ThemeChoice() {
  const [theme, setTheme] = useState(/** @type {import("./theme.js").Theme} */ ("system"));
  useEffect(() => applyTheme(theme), [theme]);
  return html`
    <label class="theme">
      <span class="only-read">Colours</span>
      <select value=${theme} onChange=${(/** @type {any} */ event) => setTheme(event.currentTarget.value)}>
        ${THEMES.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
    </label>
  `;
}

const place = document.getElementById("console");
if (place) render(html`<${Console} />`, place);
