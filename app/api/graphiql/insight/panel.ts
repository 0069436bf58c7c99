// A panel loads by itself, and when it fails it says so by itself.
import { ask, Failure, graphiqlLink, type Document, type Variables } from "./api";
import { h, hidden, type Child } from "./dom";
import type { Shop } from "./documents";
import type { Period } from "./period";

/** What the page is about now. `currency` is that of amounts that are not there, where all stores share one. */
export type Scope = { store: Shop | null; days: number; period: Period; zone: string; currency: string | null; signal: AbortSignal };

/** What one panel asks and shows. `analytics`: its figures come from events. */
export type Asked<Answer> = {
  title: string;
  document: Document<Answer>;
  analytics?: boolean;
  variables: (scope: Scope) => Variables;
  draw: (answer: Answer, scope: Scope) => Child;
};

/** Makes a panel for a scope; `ended` is called when there is no session any more. */
export type Panel = (scope: Scope, ended: () => void) => HTMLElement;

export function panel<Answer>(asked: Asked<Answer>): Panel {
  return (scope, ended) => {
    const variables = asked.variables(scope);
    const frame = framed(asked.title, graphiqlLink(asked.document, variables));
    const load = async () => {
      frame.show(h("p", {}, "Loading…"), true);
      try {
        frame.show(asked.draw(await ask(asked.document, variables, scope.signal), scope));
      } catch (error) {
        if (scope.signal.aborted) return;
        if (error instanceof Failure && error.code === "UNAUTHENTICATED") return ended();
        frame.show(failed(asked, error as Error, () => {
          frame.heading.focus();
          void load();
        }));
      }
    };
    void load();
    return frame.section;
  };
}

/** An empty panel, and how to fill it. */
export function framed(title: string, link: string | null) {
  const id = title.toLowerCase().replaceAll(" ", "-");
  const heading = h("h2", { id, tabindex: -1 }, title);
  const body = h("div", { class: "body" });
  const origin = link && h("p", { class: "origin" }, h("a", { href: link, target: "_blank", rel: "noopener" }, "Query in GraphiQL", hidden(`: ${title}`)));
  const section = h("section", { class: "panel", "aria-labelledby": id }, heading, body, origin);
  const show = (content: Child, busy = false) => {
    section.setAttribute("aria-busy", String(busy));
    body.replaceChildren(h("div", {}, content));
  };
  return { section, heading, body, show };
}

function failed(asked: { analytics?: boolean }, error: Error, again: () => void): Child {
  const away = asked.analytics && error instanceof Failure && error.code === "UNAVAILABLE";
  return [
    h("p", { class: "error", role: "alert" }, away ? "Analytics is off or does not answer: " : "", error.message),
    h("button", { type: "button", click: again }, "Try again"),
  ];
}
