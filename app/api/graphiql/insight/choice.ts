// What the visitor has chosen is in the page's address, so that a link shows the same.
import type { Shop } from "./documents";

export const RANGES = [7, 30, 90];
const USUAL = 30;

export type Choice = { store: Shop | null; days: number };

/** What the address says, as far as it can be: whoever works for one store sees that one. */
export function chosen(stores: Shop[], onlyStore: boolean): Choice {
  const given = new URLSearchParams(location.search);
  const days = RANGES.find((range) => String(range) === given.get("days")) ?? USUAL;
  const store = onlyStore ? stores[0] : stores.find(({ id }) => id === given.get("store"));
  return { store: store ?? null, days };
}

/** The address of this page with a choice. */
export function linkTo({ store, days }: Choice): string {
  return `?${new URLSearchParams({ days: String(days), ...(store && { store: store.id }) })}`;
}

/** Choose anew; the one before is where the browser's back button leads. */
export function choose(choice: Choice): void {
  history.pushState(null, "", linkTo(choice));
}
