import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import { DriverHandle } from "../../schema/instance.ts";
import { driverErrors } from "../driver-errors.ts";

/** The jail in which a machine waited to be somebody's, of an id and a directory (on the run root) of its own. */
const Keeper = Type.Object({ id: Type.String(), dir: Type.String(), jail: DriverHandle });
export type Keeper = Static<typeof Keeper>;

/** What finds a machine again: the container that is its jail, and where its sockets are. */
const Machine = Type.Object({
  id: Type.String(),
  /** On the run root: agent.sock, qmp.sock, failure. */
  runDir: Type.String(),
  /** For commands beside the main process, which are started as that was. */
  process: Type.Array(Type.Tuple([Type.String(), Type.String()])),
  command: Type.String(),
  /** Bytes of the guest's memory: fixed while it runs. */
  memory: Type.Integer(),
  /** Key of the template that it was restored from. */
  template: Type.Optional(Type.String()),
  jail: DriverHandle,
  /** It waited in a pool before: QEMU is the child of a berth-vmm in another jail. */
  keeper: Type.Optional(Keeper),
  /** Nobody will want its files when it has ended. */
  throwAway: Type.Optional(Type.Boolean()),
});
export type Machine = Static<typeof Machine>;

const driver = "qemu";
const version = 1;

export function handleOf(machine: Machine): DriverHandle {
  return { driver, version, state: { ...machine } };
}

/** The machine of a stored handle; `HANDLE_UNKNOWN` when it is another driver's or of a version that is not known. */
export function machineOf(handle: DriverHandle): Machine {
  const { state } = handle;
  if (handle.driver !== driver) throw driverErrors.HANDLE_UNKNOWN({ driver, reason: `it is of "${handle.driver}"` });
  if (handle.version !== version || !Check(Machine, state)) {
    throw driverErrors.HANDLE_UNKNOWN({ driver, reason: `version ${handle.version} has another shape` });
  }
  return state;
}
