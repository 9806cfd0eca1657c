/** A machine of a template that waits, restored and paused, in a jail of its own: its making, its end, and its becoming an instance's. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../base/ids.ts";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { encodeFields, type Field } from "../../guest/frames.ts";
import { type Template, templateFiles } from "../../guest/templates.ts";
import { chmod, copyFile, makeSmallDirectory, mkdir, rename, rm, writeFile } from "../../host/files.ts";
import type { Host, ProcessIdentity } from "../../host/host.ts";
import type { DriverHandle } from "../../schema/instance.ts";
import type { Driver, PrepareRequest } from "../driver.ts";
import { machineErrors } from "./errors.ts";
import type { Keeper } from "./handle.ts";
import { jailRequest } from "./jail.ts";
import { failureOf } from "./machine-failure.ts";
import { adoptionSocket, cloneFields, inJail } from "./machine-spec.ts";
import { nobody } from "./nobody.ts";
import { templateShape } from "./template-key.ts";
import type { TemplateRequest } from "./template-maker.ts";

export interface WaitingMachine {
  readonly keeper: Keeper;
  readonly qemu: ProcessIdentity;
  readonly scratch: string;
}

export interface KeepersOptions {
  readonly host: Host;
  /** The driver of jails. */
  readonly containers: Driver;
  /** For the disks of those that wait; on the file system of the instances' directories. */
  readonly directory: string;
}

const SIGKILL = 9;
/** For a restore beside others, some hundred times what it takes. */
const patienceMs = 60_000;
const lookMs = 10;

/** Makes waiting machines, and ends them. */
export class Keepers {
  readonly #options: KeepersOptions;

  constructor(options: KeepersOptions) {
    this.#options = options;
  }

  /** Restores a machine of the template, and lets it wait. */
  async make(
    outer: OpContext,
    { request: like, fields, parts }: TemplateRequest,
    template: Template,
  ): Promise<WaitingMachine> {
    const { host, containers, directory } = this.#options;
    const ctx = withTimeout(outer, patienceMs);
    const id = newId();
    const request = nobody(like, id);
    const { dir } = request;
    const runDir = join(dir, "run");
    const spec = join(dir, "machine");
    const scratch = join(directory, `${id}.qcow2`);
    await using reverter = new Reverter(ctx);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    reverter.add("remove the waiting machine's disk", () => rm(scratch, { force: true }));
    await copyFile(join(template.directory, templateFiles.scratch), scratch);
    await chmod(scratch, 0o600);
    reverter.add("remove the waiting machine's directory", () => rm(dir, { recursive: true, force: true }));
    await makeSmallDirectory(runDir, 0o700);
    await writeFile(spec, encodeFields(keepingFields(fields)), { mode: 0o600 });
    const jail = await jailRequest(
      request,
      { ...parts, spec, scratch, runDir, template: { directory: template.directory, access: "ro" } },
      "keep",
    );
    const { handle, pid } = await containers.prepare(ctx, jail);
    reverter.add("destroy the waiting machine's jail", (undo) => containers.destroy(undo, handle));
    await containers.start(ctx, handle);
    await this.#untilItWaits(ctx, id, runDir, handle);
    const [child] = (await containers.processes(ctx, handle)).filter((other) => other !== pid);
    const qemu = child === undefined ? undefined : host.processes.identify(child);
    if (qemu === undefined) throw machineErrors.MACHINE_FAILED({ id, reason: "its QEMU ended" });
    reverter.commit();
    return { keeper: { id, dir, jail: handle }, qemu, scratch };
  }

  isAlive({ qemu }: WaitingMachine): boolean {
    return this.#options.host.processes.isAlive(qemu);
  }

  /** Of one that is nobody's. Its memory is free at once. */
  async end(ctx: OpContext, { keeper, qemu, scratch }: WaitingMachine): Promise<void> {
    const { host, containers } = this.#options;
    host.processes.signal(qemu, SIGKILL);
    await endKeeper(ctx, containers, keeper);
    await rm(scratch, { force: true });
  }

  async #untilItWaits(ctx: OpContext, id: string, runDir: string, handle: DriverHandle): Promise<void> {
    while (!existsSync(join(runDir, adoptionSocket))) {
      const { status } = await this.#options.containers.recover(ctx, handle);
      if (status !== "running") {
        const failure = await failureOf(runDir);
        throw machineErrors.MACHINE_FAILED({ id, reason: failure?.message ?? "its keeper ended" });
      }
      await delay(lookMs, undefined, { signal: ctx.signal });
    }
  }
}

/** Gives disk and socket to an instance: what is left to do is its jail's. */
export async function moveIn(waiting: WaitingMachine, to: { readonly scratch: string; readonly runDir: string }) {
  await rename(waiting.scratch, to.scratch);
  await rename(join(waiting.keeper.dir, "run", adoptionSocket), join(to.runDir, adoptionSocket));
}

/** From here on QEMU is subject to the limits of the instance, which is not running yet. */
export async function enterGroup(ctx: OpContext, host: Host, { qemu }: WaitingMachine, request: PrepareRequest) {
  if (!host.processes.isAlive(qemu)) return; // Its clone is told so by the keeper.
  await host.cgroups.enter(ctx, request.cgroupPath, qemu.pid);
}

export async function endKeeper(ctx: OpContext, containers: Driver, { jail, dir }: Keeper): Promise<void> {
  await containers.destroy(ctx, jail);
  await rm(dir, { recursive: true, force: true });
}

function keepingFields(fields: readonly Field[]): readonly Field[] {
  const common = fields.filter(([name]) => ["kernel", "initrd", "image", "scratch", "run"].includes(name));
  return [
    ...common,
    ...(templateShape(fields) ?? []),
    ...cloneFields,
    ["scratch.cache", "unsafe"],
    ["keep", `${inJail.run}/${adoptionSocket}`],
  ];
}
