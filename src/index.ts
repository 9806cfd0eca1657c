/** Berth as a library: open an engine and use it, no server needed. See docs/library.md. */
export { BerthError, isBerthError } from "./base/errors.ts";
export type { Logger } from "./base/logger.ts";
export { background, type OpContext, withSignal, withTimeout } from "./base/op-context.ts";
export { noProgress, type ProgressEvent, type ProgressSink } from "./base/progress.ts";
export { Engine, type EngineOptions } from "./daemon/engine.ts";
export type { CapacityReport, Holder, Owner, Quantities, ResourceCapacity, SharedThing } from "./schema/capacity.ts";
