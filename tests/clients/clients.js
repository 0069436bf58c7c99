// What real clients get from a gateway whose address is the argument, as JSON: per scenario the answers, and the requests that it took.
// The second argument is the id of a trusted document in the manifest, for its scenarios; without it, those of persisted queries run.

import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { Client, fetchExchange, gql as urqlGql, stringifyDocument } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { Kind } from "graphql";

process.env.NODE_ENV = "production"; // as users run them; urql's checks for development refuse a document that has no text

const [url, documentId] = process.argv.slice(2);
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

const observed = () => {
  const requests = [];
  const observe = async (target, options = {}) => {
    const method = options.method ?? "GET";
    const sent = method === "GET" ? Object.fromEntries(new URL(target).searchParams) : JSON.parse(options.body);
    const response = await fetch(target, options);
    requests.push({ method, text: Boolean(sent.query), status: response.status, type: response.headers.get("content-type") });
    return response;
  };
  return { requests, observe };
};

const name = (client) => `query ${client}Products($first: Int!) { products(first: $first) { nodes { id name } } }`;

const apollo = async (label, options) => {
  const { requests, observe } = observed();
  const link = ApolloLink.from([new PersistedQueryLink({ sha256, ...options }), new HttpLink({ uri: url, fetch: observe })]);
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const ask = async () => {
    const { data, error } = await client.query({ query: gql(name(label)), variables: { first: 2 }, fetchPolicy: "no-cache" });
    return error ? { error: error.message } : data.products.nodes.length;
  };
  const answers = [await ask(), await ask()];
  client.stop();
  return { answers, requests };
};

const urql = async (label, options) => {
  const { requests, observe } = observed();
  const exchanges = [persistedExchange({ generateHash: async (text) => sha256(text), ...options }), fetchExchange];
  const client = new Client({ url, fetch: observe, exchanges, preferGetMethod: false, requestPolicy: "network-only" });
  const ask = async () => {
    const { data, error } = await client.query(urqlGql(name(label)), { first: 2 }).toPromise();
    return error ? { error: error.message } : data.products.nodes.length;
  };
  return { answers: [await ask(), await ask()], requests };
};

const apolloTrusted = async () => {
  const { requests, observe } = observed();
  const trusted = new PersistedQueryLink({ generateHash: () => documentId });
  const client = new ApolloClient({
    link: ApolloLink.from([trusted, new HttpLink({ uri: url, fetch: observe })]),
    cache: new InMemoryCache(),
  });
  const { data } = await client.query({ query: gql("query Trusted { products { totalCount } }") });
  const plain = new ApolloClient({ link: new HttpLink({ uri: url, fetch: observe }), cache: new InMemoryCache() });
  const refused = await plain.query({ query: gql("query Untrusted { products { totalCount } }"), errorPolicy: "all" });
  client.stop();
  plain.stop();
  return { answers: [data?.products.totalCount, refused.error?.errors?.[0]?.extensions?.code], requests };
};

const urqlTrusted = async () => {
  const { requests, observe } = observed();
  const client = new Client({ url, fetch: observe, exchanges: [fetchExchange], preferGetMethod: false });
  const { data, error } = await client.query({ kind: Kind.DOCUMENT, definitions: [], documentId }, {}).toPromise();
  const refused = await client.query(urqlGql("query Untrusted { products { totalCount } }"), {}).toPromise();
  return { answers: [data?.products.totalCount ?? String(error), refused.error?.graphQLErrors[0]?.extensions.code], requests };
};

const scenarios = documentId
  ? { apolloTrusted, urqlTrusted }
  : {
      apollo: () => apollo("Apollo", {}),
      apolloGet: () => apollo("ApolloGet", { useGETForHashedQueries: true }),
      urql: () => urql("Urql", {}),
      urqlGet: () => urql("UrqlGet", { preferGetForPersistedQueries: true }),
    };

const found = {};
for (const [scenario, run] of Object.entries(scenarios)) {
  found[scenario] = await run();
}
console.log(JSON.stringify(found));
