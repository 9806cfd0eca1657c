/** Processors and memory of a running machine: up to what its command line has left room for. */
import { Reverter } from "../base/reverter.ts";
import type { OpContext } from "../base/op-context.ts";
import { qemuErrors } from "./errors.ts";
import type { QmpClient } from "./qmp-client.ts";
import { listOf, numberOf, objectOf, stringOf } from "./reply.ts";

const MiB = 1024 * 1024;
/** Linux takes memory into use in blocks of this size. */
export const memoryBlock = 128 * MiB;

export async function cpuCount(ctx: OpContext, qmp: QmpClient): Promise<number> {
  return listOf(await qmp.execute(ctx, "query-cpus-fast"), "processors").length;
}

/** Plugs in as many processors as there are to be `count`; the guest has to take them into use. `CPUS_FULL`. */
export async function plugCpus(ctx: OpContext, qmp: QmpClient, count: number): Promise<void> {
  const slots = listOf(await qmp.execute(ctx, "query-hotpluggable-cpus"), "places").map((each) =>
    objectOf(each, "a place"),
  );
  const isTaken = (slot: (typeof slots)[number]) => slot["qom-path"] !== undefined;
  const has = slots.filter(isTaken).length;
  // The lowest first, so that a guest counts them without gaps; QEMU lists them from the top.
  const free = slots.filter((slot) => !isTaken(slot)).toReversed();
  if (count - has > free.length) throw qemuErrors.CPUS_FULL({ count, most: slots.length });
  for (const [nth, slot] of free.slice(0, Math.max(0, count - has)).entries()) {
    const props = objectOf(slot["props"], "props");
    await qmp.execute(ctx, "device_add", { driver: stringOf(slot["type"], "type"), id: `cpu${has + nth}`, ...props });
  }
}

export interface MemorySize {
  /** Bytes at its start. */
  readonly base: number;
  /** Bytes that were plugged in since. */
  readonly plugged: number;
}

export async function memorySize(ctx: OpContext, qmp: QmpClient): Promise<MemorySize> {
  const size = objectOf(await qmp.execute(ctx, "query-memory-size-summary"), "memory");
  const plugged = size["plugged-memory"];
  return {
    base: numberOf(size["base-memory"], "base-memory"),
    plugged: plugged === undefined ? 0 : numberOf(plugged, "plugged-memory"),
  };
}

/** Plugs in `bytes` more of memory, whole blocks; the guest has to take them into use. `MEMORY_FULL`; then nothing of it stays. */
export async function plugMemory(ctx: OpContext, qmp: QmpClient, bytes: number): Promise<void> {
  const devices = listOf(await qmp.execute(ctx, "query-memory-devices"), "memory devices");
  const nth = devices.length + 1;
  await using reverter = new Reverter(ctx);
  await qmp.execute(ctx, "object-add", { "qom-type": "memory-backend-ram", id: `ram${nth}`, size: bytes });
  reverter.add(
    "give the memory back",
    async (undo) => void (await qmp.execute(undo, "object-del", { id: `ram${nth}` })),
  );
  try {
    await qmp.execute(ctx, "device_add", { driver: "pc-dimm", id: `dimm${nth}`, memdev: `ram${nth}` });
  } catch (error) {
    throw qemuErrors.MEMORY_FULL({ reason: error instanceof Error ? error.message : String(error) }, { cause: error });
  }
  reverter.commit();
}

/** Asks the guest to make do with `bytes`: its balloon driver gives the rest back, as far as it can. */
export async function balloon(ctx: OpContext, qmp: QmpClient, bytes: number): Promise<void> {
  await qmp.execute(ctx, "balloon", { value: bytes });
}

/** Bytes that the guest has now. */
export async function balloonSize(ctx: OpContext, qmp: QmpClient): Promise<number> {
  return numberOf(objectOf(await qmp.execute(ctx, "query-balloon"), "balloon")["actual"], "actual");
}
