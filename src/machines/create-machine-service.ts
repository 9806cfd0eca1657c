import type { OpContext } from "../base/op-context.ts";
import { createMachine } from "./create.ts";
import { machineAddresses } from "./addresses.ts";
import { BaseCollection } from "./base-collection.ts";
import { Bases } from "./bases.ts";
import { removeConversions } from "./convert/intermediate.ts";
import { convertToImage } from "./convert/to-image.ts";
import { convertToMachine } from "./convert/to-machine.ts";
import { exportMachine } from "./exchange/export.ts";
import { importMachine } from "./exchange/import.ts";
import { removeTransfers } from "./exchange/transfers.ts";
import { createLiveMachines } from "./live/live-machines.ts";
import type { MachineService } from "./machine-service.ts";
import { isMachine, type MachineDependencies, type MachineParts, resolveMachine } from "./parts.ts";
import { Arrivals } from "./migrate/receive.ts";
import { endDepartures, removeHalfArrived } from "./migrate/recover.ts";
import { migrateMachine } from "./migrate/send.ts";
import { resetMachine, stopMachine } from "./power.ts";
import { removeTakenDisks } from "./taken-disk.ts";
import { machineView } from "./view.ts";

export interface MachineRoom extends MachineService {
  /** To be called once, when the instances have been recovered: removes what belongs to no machine. */
  recover(ctx: OpContext): Promise<void>;
  /** Ends what goes on in the background. */
  close(): Promise<void>;
}

/** The face of this room: each verb is in the file of its name. */
export function createMachineService(dependencies: MachineDependencies): MachineRoom {
  const { instances } = dependencies;
  const parts: MachineParts = {
    ...dependencies,
    bases: new Bases({ ...dependencies, instances: () => instances.list() }),
  };
  const live = createLiveMachines(parts);
  const collection = new BaseCollection(parts);
  const resolve = (nameOrId: string) => resolveMachine(parts, nameOrId);
  return {
    recover: async (ctx) => {
      await parts.bases.collect();
      await removeTakenDisks(parts);
      await removeTransfers(parts.dataRoot);
      await removeConversions(parts, ctx);
      await removeHalfArrived(parts, ctx);
      await endDepartures(parts, ctx);
      await live.recover(ctx);
      collection.follow(ctx);
    },
    close: () => collection.close(),
    live,
    create: (ctx, request, progress) => createMachine(parts, ctx, request, progress),
    list: () => instances.list().filter(isMachine),
    resolve,
    view: (record) => machineView(parts, isMachine(record) ? record : resolve(record.id)),
    start: (ctx, nameOrId) => instances.start(ctx, resolve(nameOrId).id),
    stop: (ctx, nameOrId, how) => stopMachine(parts, ctx, nameOrId, how),
    reset: (ctx, nameOrId) => resetMachine(parts, ctx, nameOrId),
    rename: (ctx, nameOrId, newName) => instances.rename(ctx, resolve(nameOrId).id, newName),
    remove: async (ctx, nameOrId, { force }) => {
      await instances.remove(ctx, resolve(nameOrId).id, { force, volumes: true });
      await parts.bases.collect();
    },
    export: (ctx, nameOrId, how) => exportMachine(parts, ctx, nameOrId, how),
    import: (ctx, request, source, progress) => importMachine(parts, ctx, request, source, progress),
    migrate: (ctx, nameOrId, request, progress) => migrateMachine(parts, ctx, nameOrId, request, progress),
    arrivals: new Arrivals(parts),
    convertToMachine: (ctx, request, progress) => convertToMachine(parts, ctx, request, progress),
    convertToImage: (ctx, request, progress) => convertToImage(parts, ctx, request, progress),
    addresses: (ctx, nameOrId) => machineAddresses(parts, ctx, nameOrId),
  };
}
