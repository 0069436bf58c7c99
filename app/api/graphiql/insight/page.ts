// Store insight: what staff see of their shop.
import "./page.css";

import { ask, Failure } from "./api";
import { choose, chosen, linkTo, RANGES, type Choice } from "./choice";
import * as documents from "./documents";
import type { Shop, Viewer } from "./documents";
import { h } from "./dom";
import { livePanel } from "./live";
import type { Scope } from "./panel";
import { panels } from "./panels";
import { lastDays, ownZone } from "./period";
import { signInForm } from "./sign_in";

const page = document.getElementById("page")!;

/** Ends whatever the page loads and listens to. */
let running = new AbortController();

/** Show what the visitor may see. `focus`: somebody has just acted, and goes on from the page's heading. */
async function open(focus = false): Promise<void> {
  running.abort();
  window.onpopstate = null;
  try {
    const { me, stores } = await ask(documents.viewer);
    if (me === null) return show(focus, signInForm(() => void open(true)));
    const period = lastDays(1, ownZone());
    await ask(documents.rights, period);
    dashboard(me, me.store ? [me.store] : stores.nodes, focus);
  } catch (error) {
    if (error instanceof Failure && error.code === "FORBIDDEN") return show(focus, forbidden(error));
    show(focus, [
      h("p", { class: "error", role: "alert" }, (error as Error).message),
      h("button", { type: "button", click: () => void open(true) }, "Try again"),
    ]);
  }
}

function show(focus: boolean, content: Node | Node[], controls: Node[] = []): void {
  const heading = h("h1", { tabindex: -1 }, "Store insight");
  page.replaceChildren(h("header", { class: "top" }, heading, controls), h("main", {}, content));
  if (focus) heading.focus();
}

function forbidden(error: Failure): HTMLElement {
  return h(
    "section",
    { class: "panel narrow" },
    h("h2", {}, "This account may not see store insight"),
    h("p", {}, `It takes a role with the permission events:read, which staff of a store have. The gateway says: ${error.message}`),
    signOutButton(),
  );
}

function signOutButton(): HTMLElement {
  const leave = async () => {
    running.abort(); // or the end of the session would be news to what still listens
    await ask(documents.signOut).catch(() => null);
    await open(true);
  };
  return h("button", { type: "button", click: () => void leave() }, "Sign out");
}

function dashboard(me: Viewer, stores: Shop[], focus: boolean): void {
  const grid = h("div", { class: "grid" });
  const zone = h("p", { class: "note" });
  const ranges = h("nav", { "aria-label": "Range" });
  const current = () => chosen(stores, me.store !== null);
  const select = storeChoice(stores, me.store !== null, (store) => go({ ...current(), store }));

  function go(choice: Choice) {
    choose(choice);
    draw();
  }

  function draw() {
    running.abort();
    running = new AbortController();
    const choice = current();
    const scope = scopeOf(choice, stores, running.signal);
    select.value = choice.store?.id ?? "";
    ranges.replaceChildren(...RANGES.map((days) => rangeLink({ ...choice, days }, choice.days === days, go)));
    zone.textContent = `Days and times are those of ${scope.zone}, ${choice.store?.settings ? "the store's" : "your browser's"} time zone.`;
    grid.replaceChildren(...[livePanel, ...panels].map((panel) => panel(scope, () => void open(true))));
  }

  const refresh = h("button", { type: "button", click: draw }, "Refresh");
  const account = h("p", { class: "account" }, `Signed in as ${me.name ?? me.username}`);
  show(focus, [zone, grid], [h("label", { class: "store" }, "Store ", select), ranges, refresh, account, signOutButton()]);
  window.onpopstate = draw;
  draw();
}

function storeChoice(stores: Shop[], one: boolean, picked: (store: Shop | null) => void): HTMLSelectElement {
  const options = stores.map(({ id, name }) => h("option", { value: id }, name));
  const change = () => picked(stores.find(({ id }) => id === select.value) ?? null);
  const select = h("select", { change, disabled: one }, one ? null : h("option", { value: "" }, "All stores"), options);
  return select;
}

function rangeLink(choice: Choice, current: boolean, go: (choice: Choice) => void): HTMLElement {
  const click = (event: Event) => {
    const { ctrlKey, metaKey, shiftKey } = event as MouseEvent;
    if (ctrlKey || metaKey || shiftKey) return; // a tab or a window of its own
    event.preventDefault();
    go(choice);
    document.querySelector<HTMLElement>('nav a[aria-current="true"]')?.focus();
  };
  return h("a", { href: linkTo(choice), "aria-current": current ? "true" : null, click }, `${choice.days} days`);
}

function scopeOf({ store, days }: Choice, stores: Shop[], signal: AbortSignal): Scope {
  const zone = store?.settings?.timezone ?? ownZone();
  const currencies = new Set((store ? [store] : stores).map(({ settings }) => settings?.currency ?? null));
  const [currency = null] = currencies.size === 1 ? currencies : [];
  return { store, days, period: lastDays(days, zone), zone, currency, signal };
}

void open();
