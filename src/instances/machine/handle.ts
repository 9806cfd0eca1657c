import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import { DriverHandle } from "../../schema/instance.ts";
import { driverErrors } from "../driver-errors.ts";

/** What finds a whole-OS machine again: the container that is its jail, and where its sockets are. */
const HardwareHandle = Type.Object({
  id: Type.String(),
  /** On the run root: qmp.sock, qga.sock, vnc.sock, vmm.sock, failure. */
  runDir: Type.String(),
  /** On the data root: the disks, and what a start is to go on from. */
  dataDir: Type.String(),
  jail: DriverHandle,
});
export type HardwareHandle = Static<typeof HardwareHandle>;

const driver = "machine";
const version = 1;

export function handleOf(machine: HardwareHandle): DriverHandle {
  return { driver, version, state: { ...machine } };
}

/** The machine of a stored handle; `HANDLE_UNKNOWN` when it is another driver's or of a version that is not known. */
export function hardwareOf(handle: DriverHandle): HardwareHandle {
  const { state } = handle;
  if (handle.driver !== driver) throw driverErrors.HANDLE_UNKNOWN({ driver, reason: `it is of "${handle.driver}"` });
  if (handle.version !== version || !Check(HardwareHandle, state)) {
    throw driverErrors.HANDLE_UNKNOWN({ driver, reason: `version ${handle.version} has another shape` });
  }
  return state;
}
