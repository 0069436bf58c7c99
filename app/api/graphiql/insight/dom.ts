// Makes elements; text is always text, never markup.

export type Child = Node | string | number | null | Child[];
type Attributes = Record<string, string | number | boolean | null | ((event: Event) => void)>;

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. An attribute of false or null is left out; a function listens to the event that it is named for. */
export function h<Name extends keyof HTMLElementTagNameMap>(name: Name, given: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[Name] {
  return filled(document.createElement(name), given, children);
}

/** An SVG element. */
export function svg<Name extends keyof SVGElementTagNameMap>(name: Name, given: Attributes = {}, ...children: Child[]): SVGElementTagNameMap[Name] {
  return filled(document.createElementNS(SVG, name) as SVGElementTagNameMap[Name], given, children);
}

/** Text for screen readers alone. */
export const hidden = (text: string) => h("span", { class: "hidden" }, text);

function filled<Made extends Element>(element: Made, given: Attributes, children: Child[]): Made {
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children: Child[]): (Node | string)[] {
  return children.flatMap((child) => {
    if (Array.isArray(child)) return nodes(child);
    return child === null ? [] : [child instanceof Node ? child : String(child)];
  });
}
