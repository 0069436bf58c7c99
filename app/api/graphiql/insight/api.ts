// Asks the gateway's public API, as any client could; the browser's session cookie says who asks.
import { createClient, type Client } from "graphql-ws";

export type Variables = Record<string, unknown>;

/** A document of `documents/`, and what it answers: `Answer` says what of the schema the page reads. */
export type Document<Answer> = { text: string; answer?: Answer };

// Beside this page, whatever prefix a proxy puts before both.
const endpoint = new URL("graphql", location.href);
endpoint.search = endpoint.hash = "";

/** What the gateway refuses or fails at; `code` is that of its first error, as the API documents them. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

type Problem = { message: string; extensions?: { code?: string } };
type Reply = { data?: unknown; errors?: readonly Problem[] };

const SIGNED_OUT = 4401; // with this code the gateway closes the connections of a session that has ended

/** The data of an operation that goes well in every part; raises `Failure`, or the fetch's own error when it is aborted. */
export async function ask<Answer>({ text }: Document<Answer>, variables: Variables = {}, signal?: AbortSignal): Promise<Answer> {
  // JSON is no content type of a form, so no other site can send this with our cookie.
  const headers = { "Content-Type": "application/json", Accept: "application/graphql-response+json, application/json" };
  const body = JSON.stringify({ query: text, variables });
  const reply = await fetch(endpoint, { method: "POST", headers, body, signal }).catch((error: Error) => {
    throw error.name === "AbortError" ? error : new Failure("The gateway cannot be reached.", "UNREACHABLE");
  });
  return dataOf<Answer>(await reply.json().catch(() => ({ errors: [{ message: `The gateway answered ${reply.status}.` }] })));
}

/** The data of one answer; raises `Failure` for its first error. */
export function dataOf<Answer>(reply: Reply): Answer {
  const error = reply.errors?.[0];
  if (error) throw refused(error);
  return reply.data as Answer;
}

/** Why a subscription ended: its answer was a failure, the gateway refused it, or the connection was closed for good. */
export function failureOf(cause: unknown): Failure {
  if (cause instanceof Failure) return cause;
  if (Array.isArray(cause)) return refused(cause[0] as Problem);
  if (!(cause instanceof CloseEvent)) return new Failure(String(cause), "UNKNOWN");
  return new Failure(cause.reason || "The connection was closed.", cause.code === SIGNED_OUT ? "UNAUTHENTICATED" : "CLOSED");
}

function refused({ message, extensions }: Problem): Failure {
  return new Failure(message, extensions?.code ?? "UNKNOWN");
}

/** A connection for subscriptions, opened by the first one, and again whenever it is lost. `told` hears of both. */
export function connect(told: (state: "connected" | "closed") => void): Client {
  return createClient({
    url: endpoint.href.replace(/^http/, "ws"),
    retryAttempts: Infinity,
    shouldRetry: () => true,
    on: { connected: () => told("connected"), closed: () => told("closed") },
  });
}

/** A link that brings an operation into GraphiQL; null where the gateway serves none. */
export function graphiqlLink({ text }: Document<unknown>, variables: Variables): string | null {
  if (document.documentElement.dataset.graphiql !== "true") return null;
  const link = new URL(endpoint);
  link.search = new URLSearchParams({ query: text, variables: JSON.stringify(variables, null, 2) }).toString();
  return link.href;
}
