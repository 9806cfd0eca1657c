/**
 * BuildKit's API in front of this engine's builder: `POST /grpc` and `POST /session`, as docker's buildx speaks them. Loaded by
 * the first such request; nothing of it is on the engine's start.
 */
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import type { Logger } from "../base/logger.ts";
import { type OpContext, withSignal } from "../base/op-context.ts";
import type { BuildService } from "../build/build-service.ts";
import type { ImageService } from "../images/image-service.ts";
import type { ImageRecord } from "../schema/image.ts";
import { bridgeMethods } from "./bridge-service.ts";
import { controlMethods, type EngineFacts, type SolveIn } from "./control-service.ts";
import { solveDockerfile } from "./dockerfile-solve.ts";
import { buildKitErrors } from "./errors.ts";
import { exportTargets } from "./exporters.ts";
import { frontendOptions } from "./frontend-options.ts";
import { dockerfileFrontend } from "./frontend-request.ts";
import { type Method, serveGrpc } from "./grpc/server.ts";
import { Jobs } from "./jobs.ts";
import { imageOfDefinition } from "./result-definition.ts";
import { Sessions } from "./session/sessions.ts";
import { type TracedBuild, TracedBuilds } from "./traced-build.ts";

export interface BuildKit {
  /** Serves a connection that was upgraded to HTTP/2, until it closes and its calls have ended. */
  serve(socket: Socket): Promise<void>;
  /** Throws for a session that can't be taken; before the upgrade is granted. */
  checkSession(id: string): void;
  /** Uses the services that the client serves on the connection, until it closes. */
  serveSession(id: string, methods: readonly string[], socket: Socket): Promise<void>;
  /** `POST /build?version=2`. */
  build(ctx: OpContext, build: TracedBuild): Promise<ImageRecord>;
  /** The context of such a build by a request of its own (`buildid=upload-request:ID`). */
  upload(ctx: OpContext, buildId: string, body: Readable): Promise<void>;
  /** `POST /build/cancel`. */
  cancel(buildId: string): void;
}

export interface BuildKitDependencies {
  readonly builder: BuildService;
  readonly images: ImageService;
  readonly engine: EngineFacts;
  readonly log: Logger;
}

export function createBuildKit(dependencies: BuildKitDependencies): BuildKit {
  const { engine, log } = dependencies;
  const sessions = new Sessions();
  const jobs = new Jobs();
  const solveIn: SolveIn = async (ctx: OpContext, job, request) => {
    const { frontend, options, inputs, imports } = request;
    if (frontend !== dockerfileFrontend) {
      throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: `the front end ${JSON.stringify(frontend)}` });
    }
    const images = Object.fromEntries(
      Object.entries(inputs).map(([name, definition]) => [name, imageOfDefinition(definition, name)]),
    );
    const [entitlement] = job.request.Entitlements;
    if (entitlement !== undefined) throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: `--allow ${entitlement}` });
    const session = await sessions.get(ctx, job.request.Session);
    const solving = withSignal(withSignal(ctx, job.signal), session.closed);
    const solved = await solveDockerfile(solving, dependencies, {
      options: frontendOptions(options, [...imports, ...(job.request.Cache?.Imports ?? [])], engine.platform, images),
      session,
      sessionOf: (directory) => {
        const id = options[`local-sessionid:${directory}`] ?? "";
        return id === "" ? Promise.resolve(session) : sessions.get(solving, id);
      },
      status: job.status,
      targets: exportTargets(job.request),
    });
    const ref = `${job.ref}-${job.results.size}`;
    job.results.set(ref, solved);
    return ref;
  };
  const parts = { ...dependencies, sessions };
  const traced = new TracedBuilds(parts);
  const methods = new Map<string, Method>([
    ...named("moby.buildkit.v1.Control", controlMethods(parts, jobs, solveIn)),
    ...named("moby.buildkit.v1.frontend.LLBBridge", bridgeMethods(engine, jobs, solveIn)),
  ]);
  return {
    serve: (socket) => serveGrpc(socket, methods, log),
    checkSession: (id) => sessions.check(id),
    serveSession: (id, supported, socket) => sessions.serve(id, supported, socket),
    build: (ctx, build) => traced.run(ctx, build),
    upload: (ctx, buildId, body) => traced.upload(ctx, buildId, body),
    cancel: (buildId) => traced.cancel(buildId),
  };
}

function named(service: string, methods: Readonly<Record<string, Method>>): [string, Method][] {
  return Object.entries(methods).map(([name, method]) => [`/${service}/${name}`, method]);
}
