import { type Static, Type } from "typebox";

/** What one instance that runs uses. Counters are since its start. */
export const UsageLine = Type.Object({
  id: Type.String(),
  name: Type.String(),
  cpuNs: Type.Number({ description: "Processor time, nanoseconds" }),
  memoryBytes: Type.Number({ description: "Memory in use, without page cache that can go" }),
  memoryLimitBytes: Type.Number({ description: "Its limit, or the machine's memory" }),
  pids: Type.Number(),
  readBytes: Type.Number({ description: "Read from disks" }),
  writtenBytes: Type.Number({ description: "Written to disks" }),
  receivedBytes: Type.Number({ description: "Over its networks" }),
  sentBytes: Type.Number(),
});
export type UsageLine = Static<typeof UsageLine>;

/** A reading of all instances that run, or of those that were asked for. */
export const UsageReport = Type.Object({
  atNs: Type.Number({ description: "When it was taken, on a clock that only rises, nanoseconds" }),
  instances: Type.Array(UsageLine),
});
export type UsageReport = Static<typeof UsageReport>;

export const UsageQuery = Type.Object({
  name: Type.Array(Type.String(), { description: "Only these, by name or id", default: [] }),
  stream: Type.Boolean({ description: "Until the client goes; else once", default: true }),
  intervalMs: Type.Integer({ minimum: 100, description: "From one reading to the next, milliseconds", default: 1000 }),
});
