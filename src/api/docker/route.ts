/** A route of the API as data: what the server registers and `docs/api.md` is made from. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static, TObject } from "typebox";
import type { OpContext } from "../../base/op-context.ts";
import type { ApiVersion } from "./api-version.ts";
import type { DockerBackend } from "./backend.ts";

export type Method = "GET" | "HEAD" | "POST" | "PUT" | "DELETE";

export interface Route {
  readonly method: Method;
  /** Docker's spelling, "/containers/{id}/json". */
  readonly path: string;
  readonly summary: string;
  /** API version that brought it, "1.25"; answers "page not found" to older clients. */
  readonly since?: number;
  readonly query?: TObject;
  readonly body?: TObject;
  /** What it answers, where that is Berth's own: for the reference. */
  readonly answer?: TObject;
  /** Whether an absent body is taken as `{}`. */
  readonly bodyOptional?: boolean;
  /**
   * Whether the work goes on when the client leaves: what changes state must not stop half-way for a closed terminal.
   * Long ones that their client watches (pull, build, logs) stop.
   */
  readonly outlivesClient?: boolean;
  readonly handle: (call: Call) => Promise<Answer> | Answer;
}

/** One request. `query` and `body` were validated by the route's schemas. */
export interface Call<Q = unknown, B = unknown> {
  readonly backend: DockerBackend;
  /** Aborted when the client has gone, unless the route outlives it. */
  readonly ctx: OpContext;
  readonly version: ApiVersion;
  /** The path's parameter, decoded: "{id}" or "{name}". */
  readonly name: string;
  readonly query: Q;
  readonly body: B;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** What a handler answers. A handler that wrote to the connection itself answers {@link streamed}. */
export type Answer =
  | { readonly kind: "json"; readonly status: number; readonly value: unknown }
  /** A list whose rows are JSON already; asked for once, at once. */
  | { readonly kind: "json-rows"; readonly status: number; readonly rows: Iterable<string> }
  | { readonly kind: "empty"; readonly status: number }
  | { readonly kind: "streamed" };

export const ok = (value: unknown): Answer => ({ kind: "json", status: 200, value });
export const okRows = (rows: Iterable<string>): Answer => ({ kind: "json-rows", status: 200, rows });
export const created = (value: unknown): Answer => ({ kind: "json", status: 201, value });
export const createdEmpty: Answer = { kind: "empty", status: 201 };
export const done: Answer = { kind: "empty", status: 200 };
export const noContent: Answer = { kind: "empty", status: 204 };
export const notModified: Answer = { kind: "empty", status: 304 };
export const streamed: Answer = { kind: "streamed" };

type QueryOf<Q> = Q extends TObject ? Static<Q> : unknown;

interface TypedRoute<Q, B> extends Omit<Route, "query" | "body" | "handle"> {
  readonly query?: Q;
  readonly body?: B;
  readonly handle: (call: Call<QueryOf<Q>, QueryOf<B>>) => Promise<Answer> | Answer;
}

/** Ties a handler's types to its schemas. */
export function route<Q extends TObject | undefined = undefined, B extends TObject | undefined = undefined>(
  definition: TypedRoute<Q, B>,
): Route {
  // The server decodes the query and validates the body by these very schemas before it calls the handler.
  return definition as unknown as Route;
}
