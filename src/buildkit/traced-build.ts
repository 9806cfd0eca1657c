/** BuildKit by `POST /build?version=2`: the classic builder's request, answered by the build's graph as it changes. */
import type { Readable } from "node:stream";
import { type OpContext, withSignal } from "../base/op-context.ts";
import type { BuildRequest, BuildService } from "../build/build-service.ts";
import { BuildCommandError } from "../build/errors.ts";
import { processError } from "../build/vertex-output.ts";
import type { ImageRecord } from "../schema/image.ts";
import { clientContext } from "./client-context.ts";
import { buildKitErrors } from "./errors.ts";
import { statusCode, StatusError } from "./grpc/status.ts";
import { clientServices } from "./session/client-services.ts";
import type { ClientSession, Sessions } from "./session/sessions.ts";
import { uploadUrl } from "./session/upload.ts";
import { StatusLog } from "./status-log.ts";
import { Uploads } from "./uploads.ts";
import { StatusResponse } from "./wire/control.ts";

export interface TracedBuild {
  readonly request: BuildRequest;
  /** The context in words: "client-session" and an uploaded tar's address mean the session's, "upload-request" one that comes by {@link TracedBuilds.upload}. */
  readonly remote: string;
  /** The session that has the client's files, secrets and credentials; "" for none. */
  readonly session: string;
  /** By which the client may cancel it; "" for none. */
  readonly buildId: string;
  /** Told each change, an encoded `moby.buildkit.v1.StatusResponse`. */
  readonly onTrace: (trace: Uint8Array) => void;
}

export class TracedBuilds {
  readonly #parts: { readonly builder: BuildService; readonly sessions: Sessions };
  readonly #uploads = new Uploads();
  readonly #cancels = new Map<string, AbortController>();

  constructor(parts: { readonly builder: BuildService; readonly sessions: Sessions }) {
    this.#parts = parts;
  }

  async run(ctx: OpContext, build: TracedBuild): Promise<ImageRecord> {
    const { buildId } = build;
    if (buildId === "") return await this.#run(ctx, build);
    if (this.#cancels.has(buildId)) throw buildKitErrors.BUILDKIT_BUILD_EXISTS({ ref: buildId });
    const cancel = new AbortController();
    this.#cancels.set(buildId, cancel);
    try {
      return await this.#run(withSignal(ctx, cancel.signal), build);
    } finally {
      this.#cancels.delete(buildId);
    }
  }

  /** Gives the build of this id its context. */
  async upload(ctx: OpContext, buildId: string, body: Readable): Promise<void> {
    await this.#uploads.give(ctx, buildId, body);
  }

  /** Nothing happens when there is no such build, as in Docker: it may just have ended. */
  cancel(buildId: string): void {
    this.#cancels.get(buildId)?.abort(new StatusError(statusCode.cancelled, "context canceled"));
  }

  async #run(ctx: OpContext, build: TracedBuild): Promise<ImageRecord> {
    const { session: id, onTrace } = build;
    const session = id === "" ? undefined : await this.#parts.sessions.get(ctx, id);
    const status = new StatusLog();
    const working = this.#build(session === undefined ? ctx : withSignal(ctx, session.closed), build, session, status)
      .then(
        (image) => ({ image }),
        (error: unknown) => ({ error }),
      )
      .finally(() => status.end());
    // To its end also when it fails or is given up: it undoes what it had begun.
    for await (const change of status.read()) onTrace(StatusResponse.encode(change));
    const outcome = await working;
    if ("image" in outcome) return outcome.image;
    const { error } = outcome;
    throw error instanceof BuildCommandError ? new StatusError(statusCode.unknown, processError(error)) : error;
  }

  async #build(
    ctx: OpContext,
    build: TracedBuild,
    session: ClientSession | undefined,
    status: StatusLog,
  ): Promise<ImageRecord> {
    const { request, remote, buildId } = build;
    if (remote !== "upload-request") return await this.#buildFrom(ctx, build, session, status);
    return await this.#uploads.use(ctx, buildId, (tar) =>
      this.#buildFrom(ctx, { ...build, request: { ...request, context: { tar } } }, session, status),
    );
  }

  async #buildFrom(
    ctx: OpContext,
    { request, remote }: TracedBuild,
    session: ClientSession | undefined,
    status: StatusLog,
  ): Promise<ImageRecord> {
    const { builder } = this.#parts;
    const isUploaded = remote.startsWith(uploadUrl);
    const isSessions = isUploaded || remote === "client-session";
    if (session === undefined) {
      if (isSessions) throw buildKitErrors.BUILDKIT_OPTION_INVALID({ option: "session", value: "" });
      return await builder.buildObserved(ctx, { ...request, ownCacheToo: true }, status);
    }
    const options = {
      dockerfile: request.dockerfile,
      dockerfileDirectory: "dockerfile",
      contextDirectory: "context",
      remote: isUploaded ? remote : "",
    };
    const contexts = { options, session, sessionOf: async () => session, status };
    const context = isSessions ? await clientContext(ctx, contexts) : request.context;
    const own = { ...request, ...clientServices(session), context, ownCacheToo: true };
    return await builder.buildObserved(ctx, own, status);
  }
}
