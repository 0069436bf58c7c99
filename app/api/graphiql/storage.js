// GraphiQL's history keeps the headers of each query, an Authorization header among them. They stay in memory; what is written to the
// browser's storage, where they would outlive the tab, goes without them.
const HISTORY_KEYS = { "graphiql:queries": "queries", "graphiql:favorites": "favorites" };

function withoutHeaders(value, key) {
  const entries = JSON.parse(value)[key];
  return JSON.stringify({ [key]: entries.map(({ headers, ...entry }) => entry) });
}

export const storage = {
  getItem: (name) => localStorage.getItem(name),
  setItem: (name, value) => localStorage.setItem(name, name in HISTORY_KEYS ? withoutHeaders(value, HISTORY_KEYS[name]) : value),
  removeItem: (name) => localStorage.removeItem(name),
  clear() {
    const names = Object.keys(localStorage).filter((name) => name.startsWith("graphiql:"));
    names.forEach((name) => localStorage.removeItem(name));
  },
  get length() {
    return localStorage.length;
  },
};
