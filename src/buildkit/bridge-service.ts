/** `moby.buildkit.v1.frontend.LLBBridge`: a build's client asks for a front end's result, and says which one to export. */
import { buildKitErrors } from "./errors.ts";
import { type EngineFacts, type SolveIn, workerOf } from "./control-service.ts";
import { type GrpcCall, type Method, unary } from "./grpc/server.ts";
import { StatusError } from "./grpc/status.ts";
import type { Job, Jobs } from "./jobs.ts";
import { definitionOf } from "./result-definition.ts";
import { Empty } from "./wire/control.ts";
import { BridgeSolveRequest, BridgeSolveResponse, PongResponse, RefRequest, ReturnRequest } from "./wire/gateway.ts";

/** Header by which a call names its build. */
const buildIdHeader = "buildkit-controlapi-buildid";

/** What a client may ask for: the names are BuildKit's. */
const capabilities = [
  "solve.base",
  "solve.inlinereturn",
  "return",
  "returnmap",
  "proto.refarray",
  "importcaches",
  "frontend.inputs",
  "gateway.solve.metadata",
  "gateway.solve.evaluate",
  "gateway.evaluate",
  "gateway.warnings",
  "reference.output",
];

/** The same of what a solve is asked for. */
const solveCapabilities = ["exporter.multiple"];

export function bridgeMethods(engine: EngineFacts, jobs: Jobs, solveIn: SolveIn): Readonly<Record<string, Method>> {
  const jobOf = (call: GrpcCall): Promise<Job> => jobs.get(call.ctx, call.metadata(buildIdHeader));
  return {
    Ping: unary(Empty, PongResponse, async (call) => {
      await jobOf(call);
      return {
        FrontendAPICaps: capabilities.map((ID) => ({ ID, Enabled: true })),
        LLBCaps: solveCapabilities.map((ID) => ({ ID, Enabled: true })),
        Workers: [workerOf(engine)],
      };
    }),
    Solve: unary(BridgeSolveRequest, BridgeSolveResponse, async (call, request) => {
      if (request.Definition.length > 0) throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: "a build graph (LLB)" });
      const job = await jobOf(call);
      const id = await solveIn(call.ctx, job, {
        frontend: request.Frontend,
        options: request.FrontendOpt,
        inputs: request.FrontendInputs,
        imports: request.CacheImports,
      });
      const image = job.results.get(id)?.imageId;
      return { result: { ref: { id, def: image === undefined ? undefined : definitionOf(image) }, metadata: {} } };
    }),
    Evaluate: unary(RefRequest, Empty, async (call, { Ref }) => {
      // Every result is whole when it is given out.
      const job = await jobOf(call);
      if (!job.results.has(Ref)) throw buildKitErrors.BUILDKIT_BUILD_NOT_FOUND({ ref: Ref });
      return {};
    }),
    Return: unary(ReturnRequest, Empty, async (call, { result, error }) => {
      const job = await jobOf(call);
      if (error !== undefined) job.finish({ error: new StatusError(error.code, error.message) });
      else job.finish({ result: result?.ref?.id ?? "" });
      return {};
    }),
  };
}
