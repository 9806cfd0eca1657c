import { type Static, Type } from "typebox";

/** Something that happened, in Docker's terms (`docker events`). */
export const EngineEvent = Type.Object({
  type: Type.Union([
    Type.Literal("container"),
    Type.Literal("image"),
    Type.Literal("network"),
    Type.Literal("volume"),
    Type.Literal("builder"),
    Type.Literal("daemon"),
  ]),
  /** "create", "start", "die", "health_status: healthy", "exec_create: true", "pull", "connect", ... */
  action: Type.String(),
  /** Id (name, for volumes) of what it happened to. */
  actorId: Type.String(),
  /** "name", "image", "exitCode", "signal" and the instance's labels, as Docker sends them. */
  attributes: Type.Record(Type.String(), Type.String()),
  /** Nanoseconds since the epoch, as a decimal string. */
  timeNano: Type.String(),
});
export type EngineEvent = Static<typeof EngineEvent>;
