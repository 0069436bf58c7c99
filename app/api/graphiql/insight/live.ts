// The last five minutes, as they go by.
import { connect, dataOf, failureOf, graphiqlLink } from "./api";
import { figures } from "./charts";
import { live, type LiveFigures } from "./documents";
import { h } from "./dom";
import { count, moneys, time } from "./format";
import { framed, type Panel } from "./panel";

const ANNOUNCED_EVERY = 30_000; // milliseconds: whoever listens is not talked over every five seconds

/** The panel of live figures; it ends with its scope, and pauses when asked to (WCAG 2.2, 2.2.2). */
export const livePanel: Panel = (scope, ended) => {
  const variables = { store: scope.store?.id ?? null };
  const { section, body } = framed("Live", graphiqlLink(live, variables));
  const state = h("p", { class: "note" }, "Connecting…");
  const shown = h("div");
  const announce = announcer();
  const pause = h("button", { type: "button", click: () => (stop ? paused() : start()) }, "Pause");
  let stop: (() => void) | null = null;
  body.append(shown, state, pause, announce.region);

  function start() {
    const client = connect((told) => {
      if (told === "closed" && stop) state.textContent = "The connection is lost and opened again…";
    });
    const lines = { query: live.text, variables };
    const unsubscribe = client.subscribe<{ liveMetrics: LiveFigures }>(lines, {
      next: (reply) => {
        try {
          show(dataOf<{ liveMetrics: LiveFigures }>(reply as { data: unknown }).liveMetrics);
        } catch (error) {
          fail(error);
        }
      },
      error: fail,
      complete: () => {},
    });
    stop = () => {
      unsubscribe();
      void client.dispose();
    };
    pause.textContent = "Pause";
  }

  function halt() {
    const stopping = stop;
    stop = null;
    stopping?.();
  }

  function paused() {
    halt();
    state.textContent = "Paused.";
    pause.textContent = "Go on";
  }

  function show(told: LiveFigures) {
    const named: [string, string][] = [
      ["Events", told.events === null ? "not counted now" : count(told.events)],
      ["Carts", count(told.carts)],
      ["Orders", count(told.orders)],
      ["Revenue", moneys(told.revenue, scope.currency)],
    ];
    shown.replaceChildren(figures(...named));
    state.textContent = `The five minutes until ${time(told.at, scope.zone)}; told anew every five seconds.`;
    announce.say(named.map(([name, value]) => `${name}: ${value}`).join(", "));
  }

  function fail(error: unknown) {
    halt();
    const { code, message } = failureOf(error);
    if (code === "UNAUTHENTICATED") return ended();
    state.replaceChildren(h("span", { class: "error", role: "alert" }, `Live figures have stopped: ${message}`));
    pause.textContent = "Try again";
  }

  scope.signal.addEventListener("abort", halt);
  start();
  return section;
};

/** Tells screen readers of what has changed, when they have nothing else to say, and not too often. */
function announcer() {
  const region = h("p", { class: "hidden", role: "status" });
  let last = -Infinity;
  const say = (text: string) => {
    if (text === region.textContent || Date.now() - last < ANNOUNCED_EVERY) return;
    last = Date.now();
    region.textContent = text;
  };
  return { region, say };
}
