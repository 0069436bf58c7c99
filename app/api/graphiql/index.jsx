import "./nonce.js";
import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "./page.css";

import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

import { storage } from "./storage.js";

const DEFAULT_QUERY = `# Ctrl-Enter runs the query, Ctrl-Space completes a name.
# A token goes into the Headers tab below:
# { "Authorization": "Bearer …" }

query Products {
  products(first: 5) {
    nodes {
      id
      name
      price
      currency
    }
  }
}
`;

// The page and the API share one address, over HTTP and over WebSocket alike, whatever prefix a proxy puts before it.
const url = location.origin + location.pathname;

const fetcher = createGraphiQLFetcher({
  url,
  subscriptionUrl: url.replace(/^http/, "ws"),
  enableIncrementalDelivery: false,
});

// A link may bring a query and its variables: they are shown, and run when asked to.
const given = new URLSearchParams(location.search);

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    defaultQuery={DEFAULT_QUERY}
    initialQuery={given.get("query") ?? undefined}
    initialVariables={given.get("variables") ?? undefined}
    defaultEditorToolsVisibility="headers"
    isHeadersEditorEnabled
    shouldPersistHeaders={false}
    inputValueDeprecation
    schemaDescription
  >
    <GraphiQL.Logo>Neurotracker</GraphiQL.Logo>
  </GraphiQL>,
);
