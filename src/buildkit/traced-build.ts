/** BuildKit by `POST /build?version=2`: the classic builder's request, answered by the build's graph as it changes. */
import { type OpContext, withSignal } from "../base/op-context.ts";
import type { BuildRequest, BuildService } from "../build/build-service.ts";
import { BuildCommandError } from "../build/errors.ts";
import { processError } from "../build/vertex-output.ts";
import type { ImageRecord } from "../schema/image.ts";
import { buildKitErrors } from "./errors.ts";
import { statusCode, StatusError } from "./grpc/status.ts";
import { clientServices } from "./session/client-services.ts";
import type { Sessions } from "./session/sessions.ts";
import { StatusLog } from "./status-log.ts";
import { StatusResponse } from "./wire/control.ts";

export interface TracedBuild {
  readonly request: BuildRequest;
  /** The session that has the client's credentials; "" for none. */
  readonly session: string;
  /** By which the client may cancel it; "" for none. */
  readonly buildId: string;
  /** Told each change, an encoded `moby.buildkit.v1.StatusResponse`. */
  readonly onTrace: (trace: Uint8Array) => void;
}

export class TracedBuilds {
  readonly #parts: { readonly builder: BuildService; readonly sessions: Sessions };
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

  /** Nothing happens when there is no such build, as in Docker: it may just have ended. */
  cancel(buildId: string): void {
    this.#cancels.get(buildId)?.abort(new StatusError(statusCode.cancelled, "context canceled"));
  }

  async #run(ctx: OpContext, { request, session: id, onTrace }: TracedBuild): Promise<ImageRecord> {
    const { builder, sessions } = this.#parts;
    const session = id === "" ? undefined : await sessions.get(ctx, id);
    const services = session === undefined ? {} : clientServices(session);
    const status = new StatusLog();
    const working = builder
      .buildObserved(ctx, { ...request, ...services, ownCacheToo: true }, status)
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
}
