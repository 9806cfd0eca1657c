import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import type { DriverHandle } from "../../schema/instance.ts";
import { driverErrors } from "../driver-errors.ts";

const Identity = Type.Object({ pid: Type.Integer(), startTime: Type.Number() });

/** What finds a container again: all of it is known once it is prepared, none of it changes. */
const OciTask = Type.Object({
  id: Type.String(),
  /** Bundle and monitor's files. */
  dir: Type.String(),
  /** Name of the runtime that made it. */
  runtime: Type.String(),
  cgroupPath: Type.String(),
  /** conmon, and the container's first process. */
  monitor: Identity,
  init: Identity,
  tty: Type.Boolean(),
  openStdin: Type.Boolean(),
  /** The end of a client's stdin is the end of the container's. */
  stdinOnce: Type.Boolean(),
});
export type OciTask = Static<typeof OciTask>;

const driver = "oci";
const version = 1;

export function handleOf(task: OciTask): DriverHandle {
  return { driver, version, state: { ...task } };
}

/** The task of a stored handle; `HANDLE_UNKNOWN` when it is another driver's or of a version that is not known. */
export function taskOf(handle: DriverHandle): OciTask {
  const { state } = handle;
  if (handle.driver !== driver) throw driverErrors.HANDLE_UNKNOWN({ driver, reason: `it is of "${handle.driver}"` });
  if (handle.version !== version || !Check(OciTask, state)) {
    throw driverErrors.HANDLE_UNKNOWN({ driver, reason: `version ${handle.version} has another shape` });
  }
  return state;
}
