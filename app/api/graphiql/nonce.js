// Monaco, Radix and Motion add <style> elements while they run. The page's policy admits only those that carry this response's nonce,
// and none of the three can be told it, so every <style> made in this document gets it here. Must be imported before they are.
const { nonce } = document.querySelector("meta[property=csp-nonce]");
const createElement = document.createElement.bind(document);

document.createElement = (name, options) => {
  const element = createElement(name, options);
  if (element instanceof HTMLStyleElement) element.nonce = nonce;
  return element;
};
