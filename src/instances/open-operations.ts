/**
 * Operations on an instance that a kill of the engine may cut in two: noted in the journal before their first effect, and finished
 * or undone by the next start.
 */
import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { JournalEntry } from "../state/store.ts";
import type { Recovered } from "./driver.ts";
import { driverOf, type Parts } from "./parts.ts";
import type { StopOptions } from "./stop.ts";

/** What the next start does about one that is open. */
export type OpenOperation =
  /** Finishes it: ends the run that was to end, if it is still there, and starts it again. */
  | "instance.restart"
  /** Applies the limits of its record. */
  | "instance.update"
  /** Thaws it. */
  | "instance.commit"
  /** Takes it out of the network, be it that it was joining or that it was leaving. */
  | "instance.network"
  /** Takes over what its network has: the change is either made, or not begun. */
  | "instance.ports"
  /** Removes its anonymous volumes with it. */
  | "instance.remove";

/** Notes the operation. Nothing of it outlives a power cut, which takes all that runs: no need to wait for the disk. */
export function beginOperation(
  parts: Parts,
  kind: OpenOperation,
  id: string,
  details: Readonly<Record<string, unknown>> = {},
): Disposable {
  const entry = parts.store.transaction(() => parts.store.journal.begin(kind, id, details), { durable: false });
  return { [Symbol.dispose]: () => endEntry(parts, entry) };
}

/** The run that an operation found when it began: empty for none. */
export function runOf({ state }: InstanceRecord): string {
  return state.handle === null ? "" : state.startedAt;
}

/** A restart that a kill of the engine cut in two. */
export interface InterruptedRestart {
  readonly options: StopOptions;
  /** See {@link runOf}: while it goes on, the restart has not come to its stop. */
  readonly run: string;
}

/** By the ids of their instances, which don't count as stopped. */
export function interruptedRestarts(parts: Parts): ReadonlyMap<string, InterruptedRestart> {
  const open = openEntries(parts, "instance.restart");
  for (const { subject } of open) {
    if (parts.records.get(subject) !== undefined) parts.lives.of(subject).restarting = true;
  }
  return new Map(open.map(({ subject, details }) => [subject, interruptedRestart(details)]));
}

function interruptedRestart({ signal, timeoutSeconds, run }: Readonly<Record<string, unknown>>): InterruptedRestart {
  return {
    options: {
      ...(typeof signal === "string" ? { signal } : {}),
      ...(typeof timeoutSeconds === "number" ? { timeoutSeconds } : {}),
    },
    run: typeof run === "string" ? run : "",
  };
}

/** Ids of the instances that were being removed with their anonymous volumes. */
export function interruptedRemovals(parts: Parts): ReadonlySet<string> {
  return new Set(openEntries(parts, "instance.remove").map(({ subject }) => subject));
}

/** Ids of the networks that instances were joining or leaving, by the instance's id. */
export function interruptedConnections(parts: Parts): ReadonlyMap<string, string> {
  return new Map(
    openEntries(parts, "instance.network").flatMap(({ subject, details: { network } }) =>
      typeof network === "string" ? [[subject, network] as const] : [],
    ),
  );
}

/** Ids of the instances whose published ports were being changed. */
export function interruptedPortChanges(parts: Parts): ReadonlySet<string> {
  return new Set(openEntries(parts, "instance.ports").map(({ subject }) => subject));
}

/** Their records say what there is, or they have ended. */
export function endInterruptedPortChanges(parts: Parts, ids: ReadonlySet<string>): void {
  for (const entry of openEntries(parts, "instance.ports")) if (ids.has(entry.subject)) endEntry(parts, entry);
}

/** It is out of the network, or has ended. */
export function endInterruptedConnections(parts: Parts, ids: ReadonlySet<string>): void {
  for (const entry of openEntries(parts, "instance.network")) if (ids.has(entry.subject)) endEntry(parts, entry);
}

/** They are gone, or marked dead. */
export function endInterruptedRemovals(parts: Parts, ids: ReadonlySet<string>): void {
  for (const entry of openEntries(parts, "instance.remove")) if (ids.has(entry.subject)) endEntry(parts, entry);
}

/** They have been started again, or can't be. */
export function endInterruptedRestarts(parts: Parts, ids: ReadonlySet<string>): void {
  for (const id of ids) if (parts.records.get(id) !== undefined) parts.lives.of(id).restarting = false;
  for (const entry of openEntries(parts, "instance.restart")) if (ids.has(entry.subject)) endEntry(parts, entry);
}

/** Of one that is found running or frozen: finishes an update, thaws what was frozen for a commit. Returns how it is then. */
export async function finishOperations(
  parts: Parts,
  ctx: OpContext,
  { id, spec, state: { handle } }: InstanceRecord,
  found: Extract<Recovered, { status: "running" | "paused" }>,
): Promise<typeof found> {
  const ofIt = (kind: OpenOperation) => openEntries(parts, kind).some(({ subject }) => subject === id);
  if (handle === null) return found;
  const driver = driverOf(parts, spec);
  try {
    if (ofIt("instance.update")) await driver.update(ctx, handle, spec.resources);
    if (!ofIt("instance.commit") || found.status !== "paused") return found;
    await driver.resume(ctx, handle);
    return { ...found, status: "running" };
  } catch (error) {
    ctx.log.error({ instance: id, error: messageOf(error) }, "cannot finish what the last engine was doing with it");
    return found;
  }
}

/** Once every instance has been looked at. */
export function endOperations(parts: Parts): void {
  for (const kind of ["instance.update", "instance.commit"] as const) {
    for (const entry of openEntries(parts, kind)) endEntry(parts, entry);
  }
}

function openEntries(parts: Parts, kind: OpenOperation) {
  return parts.store.journal.open().filter((entry) => entry.kind === kind);
}

function endEntry(parts: Parts, entry: JournalEntry): void {
  parts.store.transaction(() => entry.end(), { durable: false });
}
