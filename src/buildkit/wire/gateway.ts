/** `moby.buildkit.v1.frontend.LLBBridge`: what the client of a build asks while it runs. Only the fields that are used. */
import { CacheEntry, Platform, RpcStatus, WorkerRecord } from "./control.ts";
import { Definition } from "./graph.ts";
import { bytes, type Decoded, flag, integer, listOf, map, message, nested, text } from "./message.ts";

const Cap = message({ ID: [1, text], Enabled: [2, flag] });

export const PongResponse = message({
  FrontendAPICaps: [1, listOf(Cap)],
  LLBCaps: [2, listOf(Cap)],
  Workers: [3, listOf(WorkerRecord)],
});

export const BridgeSolveRequest = message({
  Definition: [1, bytes],
  Frontend: [2, text],
  FrontendOpt: [3, map(text)],
  CacheImports: [12, listOf(CacheEntry)],
  FrontendInputs: [13, map(bytes)],
  Evaluate: [14, flag],
});
export type BridgeSolveRequest = Decoded<typeof BridgeSolveRequest>;

const Ref = message({ id: [1, text], def: [2, nested(Definition)] });

const Result = message({ ref: [3, nested(Ref)], metadata: [10, map(bytes)] });

export const BridgeSolveResponse = message({ ref: [1, text], result: [3, nested(Result)] });

export const ReturnRequest = message({ result: [1, nested(Result)], error: [2, nested(RpcStatus)] });

export const RefRequest = message({ Ref: [1, text] });

const FileRange = message({ Offset: [1, integer], Length: [2, integer] });
export const ReadFileRequest = message({ Ref: [1, text], FilePath: [2, text], Range: [3, nested(FileRange)] });
export const ReadFileResponse = message({ Data: [1, bytes] });

export const ResolveImageConfigRequest = message({ Ref: [1, text], Platform: [2, nested(Platform)] });
