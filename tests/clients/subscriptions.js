// What the clients of graphql-ws and graphql-sse are told by the gateways whose addresses are the arguments, as JSON. The first is the one
// that they subscribe at; the second serves the same database, and changes carts. The third is a shopper's token, the fourth a product.

import { createClient as createSseClient } from "graphql-sse";
import { createClient as createWsClient } from "graphql-ws";
import WebSocket from "ws";

const [here, there, token, productId] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const CARTS = "subscription Carts { cartUpdated { itemCount } }";
const PRODUCTS = "query Products($first: Int!) { products(first: $first) { nodes { name } } }";
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const post = async (query, variables) => {
  const response = await fetch(`${there}/graphql`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()).data;
};

// Puts a piece into the cart until the subscriber has been told so often; nothing tells it when its subscription has begun.
const change = async (told, enough) => {
  for (let tries = 0; tries < 100 && told.length < enough; tries += 1) {
    await post("mutation Add($input: AddToCartInput!) { addToCart(input: $input) { cart { itemCount } } }", {
      input: { productId, quantity: 1 },
    });
    await sleep(150);
  }
};

const subscription = async (client) => {
  const told = [];
  const problems = [];
  const over = new Promise((resolve) => {
    const dispose = client.subscribe(
      { query: CARTS },
      {
        next: (result) => {
          told.push(result.errors ?? result.data.cartUpdated.itemCount);
          if (told.length === 3) dispose();
        },
        error: (error) => {
          problems.push(String(error.message ?? error.reason ?? JSON.stringify(error)));
          resolve();
        },
        complete: resolve,
      },
    );
  });
  await change(told, 3);
  await over;
  return { told, problems };
};

const answers = async (client, request) => {
  const found = [];
  try {
    for await (const result of client.iterate(request)) found.push(result.errors ? result.errors[0].extensions.code : result.data);
  } catch (error) {
    found.push(Array.isArray(error) ? error[0].extensions.code : { closed: error.code, message: error.message });
  }
  return found;
};

const websocket = (options) =>
  createWsClient({ url: `${here.replace("http", "ws")}/graphql`, webSocketImpl: WebSocket, retryAttempts: 0, ...options });
const events = (options) => createSseClient({ url: `${here}/graphql`, retryAttempts: 0, ...options });

const told = async (client) => {
  const found = {
    subscription: await subscription(client),
    query: (await answers(client, { query: PRODUCTS, variables: { first: 2 } })).map((data) => data.products.nodes.length),
    invalid: await answers(client, { query: "subscription { nothing }" }),
  };
  await client.dispose();
  return found;
};

const stranger = async (client) => {
  const found = await answers(client, { query: "subscription Orders { orderUpdated { id } }" });
  await client.dispose();
  return found;
};

// The connection breaks under the subscription; the client makes another one and goes on.
const reconnects = async () => {
  let socket;
  let broken = 0;
  const client = websocket({
    connectionParams: headers,
    retryAttempts: 5,
    retryWait: () => sleep(50),
    on: { connected: (opened) => (socket = opened) },
  });
  const heard = [];
  const dispose = client.subscribe(
    { query: CARTS },
    { next: (result) => heard.push(result.data.cartUpdated.itemCount), error: () => {}, complete: () => {} },
  );
  await change(heard, 1);
  const before = heard.length;
  socket.terminate();
  broken += 1;
  await change(heard, before + 1);
  dispose();
  await client.dispose();
  return { broken, before, after: heard.length };
};

const found = {
  websocket: await told(websocket({ connectionParams: headers })),
  events: await told(events({ headers })),
  eventsStranger: await stranger(events()),
  websocketStranger: await stranger(websocket()),
  websocketNobody: await stranger(websocket({ connectionParams: { Authorization: "Bearer nobody" } })),
  reconnects: await reconnects(),
};
console.log(JSON.stringify(found));
process.exit(0);
