// Figures as pictures, each with the same figures as text: lists and tables are what is read, pictures are what is glanced at.
import { h, hidden, svg, type Child } from "./dom";

export type Point = { label: string; value: number | null; shown: string };

const HEIGHT = 100;

/** Figures with their names. */
export function figures(...named: [name: string, value: string][]): HTMLElement {
  return h("dl", { class: "figures" }, named.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** A table; the first cell of a row names it. */
export function table(caption: string, headings: string[], rows: Child[][]): HTMLElement {
  return h(
    "table",
    {},
    h("caption", {}, hidden(caption)),
    h("thead", {}, h("tr", {}, headings.map((heading) => h("th", { scope: "col" }, heading)))),
    h("tbody", {}, rows.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name ?? ""), cells.map((cell) => h("td", {}, cell))))),
  );
}

/** A share of the whole as a bar beside a figure that says it. */
export function bar(share: number): SVGElement {
  const picture = svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(svg("rect", { class: "track", width: 100, height: 10 }), svg("rect", { class: "fill", width: share * 100, height: 10 }));
  return picture;
}

/** A figure over time; `rows` is the table below it, which has every point. */
export function chart(kind: "bars" | "line", name: string, points: Point[], write: (value: number) => string, rows: HTMLElement): HTMLElement {
  const most = Math.max(0, ...points.map(({ value }) => value ?? 0));
  const picture = svg("svg", { viewBox: `0 0 ${points.length} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  picture.setAttribute("aria-label", `${name}, ${points[0]?.label} to ${points.at(-1)?.label}, highest ${write(most)}. The table below has every day.`);
  const top = (value: number) => HEIGHT - (most ? (value / most) * (HEIGHT - 2) : 0);
  picture.append(...(kind === "bars" ? bars(points, top) : [line(points, top)]), ...points.map(column));
  return h(
    "figure",
    {},
    h("figcaption", {}, name, h("span", { class: "most" }, `highest: ${write(most)}`)),
    picture,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, points[0]?.label ?? ""), h("span", {}, points.at(-1)?.label ?? "")),
    h("details", {}, h("summary", {}, "As a table", hidden(`: ${name}`)), rows),
  );
}

function bars(points: Point[], top: (value: number) => number): SVGElement[] {
  return points.map(({ value }, index) => svg("rect", { class: "fill", x: index + 0.1, width: 0.8, y: top(value ?? 0), height: HEIGHT - top(value ?? 0) }));
}

/** A line with gaps where there is no value. */
function line(points: Point[], top: (value: number) => number): SVGElement {
  const steps = points.map(({ value }, index) => {
    if (value === null) return "";
    const isFirst = (points[index - 1]?.value ?? null) === null;
    // A point without neighbours is a line without length, which its round ends make a dot.
    return `${isFirst ? "M" : "L"}${index + 0.5} ${top(value)}h0`;
  });
  return svg("path", { class: "line", d: steps.join(""), "vector-effect": "non-scaling-stroke" });
}

/** What the mouse rests on to see a point. */
function column({ label, shown }: Point, index: number): SVGElement {
  return svg("rect", { class: "column", x: index, width: 1, height: HEIGHT }, svg("title", {}, `${label}: ${shown}`));
}
