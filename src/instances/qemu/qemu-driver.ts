/**
 * Instances with a kernel of their own. A machine is what a container's process is: the driver of containers runs berth-vmm in a jail,
 * which keeps streams, log, exit code and limits; what is inside the guest goes through its agent.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { Turns } from "../../base/turns.ts";
import { fileDaemonWords } from "../../guest/file-daemon.ts";
import { encodeFields } from "../../guest/frames.ts";
import { type Template, templateFiles } from "../../guest/templates.ts";
import { errnoOf } from "../../host/errors.ts";
import { chmod, copyFile, makeSmallDirectory, rename, writeFile } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { DriverHandle, InstanceSpec } from "../../schema/instance.ts";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import type {
  Driver,
  DriverFingerprint,
  ExecRequest,
  ExecTask,
  PrepareRequest,
  Recovered,
  TaskExit,
} from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { isThrowAway } from "../parts.ts";
import { askAgent } from "./ask-agent.ts";
import { AgentChannel, AgentError } from "./agent-channel.ts";
import { connectToAgent, isNobodyThere } from "./agent-socket.ts";
import type { BootParts } from "./boot-parts.ts";
import { commandFailure } from "./command-failure.ts";
import { machineErrors } from "./errors.ts";
import { execMachine } from "./exec.ts";
import { handleOf, type Machine, machineOf } from "./handle.ts";
import { jailRequest, type JailParts } from "./jail.ts";
import { JailedDriver } from "./jailed-driver.ts";
import { withGuestFigures } from "./guest-usage.ts";
import { killMachine } from "./kill.ts";
import { machineInside } from "./machine-inside.ts";
import { guestMemory, jailResources } from "./machine-size.ts";
import { adoptionFailureOf, failureOf, templateFailureOf } from "./machine-failure.ts";
import { machineNetworks } from "./machine-networks.ts";
import { MachinePool, type PoolSettings } from "./machine-pool.ts";
import { adoptionFields, cloneFields, inJail, machineSpec } from "./machine-spec.ts";
import { inheritedFields, limitFields } from "./process-fields.ts";
import { type InstancePlaces, resumePool } from "./pool-resume.ts";
import { requireFiles, sharesOf, sharesRoot } from "./shares.ts";
import { TemplateMaker, type TemplateRequest } from "./template-maker.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { endKeeper, enterGroup, Keepers, moveIn, type WaitingMachine } from "./waiting-machine.ts";

export interface QemuDriverOptions {
  readonly host: Host;
  /** The driver of containers, which the jails are. */
  readonly containers: Driver;
  readonly parts: DriverParts;
  readonly pool: PoolSettings;
  readonly places: InstancePlaces;
  readonly log: Logger;
}

/** What machines are booted from. */
export type DriverParts = Pick<
  BootParts,
  | "vmm"
  | "missing"
  | "kit"
  | "acceleration"
  | "imageDisk"
  | "blankDisk"
  | "scratchDisk"
  | "fileDaemon"
  | "fileDaemonProgram"
  | "templates"
  | "currentKit"
  | "imagePath"
  | "waiting"
  | "collect"
>;

const SIGKILL = 9;
const lookMs = 5;
/** For a boot on a busy machine under emulation, some fifty times what it takes. */
const startMs = 120_000;

export class QemuDriver extends JailedDriver implements Driver {
  readonly name = "qemu";
  readonly isolation = "vm";
  readonly hardware = false;
  readonly inside = machineInside;
  readonly networks = machineNetworks;
  readonly #host: Host;
  readonly #parts: DriverParts;
  readonly #maker: TemplateMaker;
  /** Machines that can come from a template: by id, from their preparation to their start. */
  readonly #starts = new Map<string, TemplateRequest>();
  /**
   * A start is processor time, but for what it waits for the disk and its jail: beyond two for each processor more at once end no sooner, and
   * on a busy machine each looks as if it hung.
   */
  readonly #starting: Turns;
  /** Those that wait. */
  readonly pool: MachinePool;
  readonly #places: InstancePlaces;
  readonly #log: Logger;
  readonly #closing = new AbortController();
  #resuming: Promise<void> | undefined;

  constructor({ host, containers, parts, pool, places, log }: QemuDriverOptions) {
    super(containers, (handle) => machineOf(handle).jail);
    this.#host = host;
    this.#parts = parts;
    this.#places = places;
    this.#log = log;
    this.#starting = new Turns(2 * host.facts.cpus + 1);
    const { templates, waiting: directory } = parts;
    const keepers = new Keepers({ host, containers, directory });
    this.pool = new MachinePool({ settings: pool, keepers, templates, log });
    this.#maker = new TemplateMaker({ host, containers, templates, log, made: () => this.pool.review() });
  }

  /** Once the engine has found what runs: in the background, lets wait what waited before. */
  resumePool(): void {
    const [parts, maker, pool, places] = [this.#parts, this.#maker, this.pool, this.#places];
    const ctx = { signal: this.#closing.signal, log: this.#log };
    this.#resuming = resumePool(ctx, { parts, maker, pool, places }).catch((error: unknown) => {
      if (ctx.signal.aborted) return;
      ctx.log.warn({ error: messageOf(error) }, "the pool of machines is filled when the first are started");
    });
  }

  /** Resolves when nothing is being made in the background. */
  async settled(): Promise<void> {
    await this.#resuming;
    await this.#maker.settled();
    await this.pool.settled();
  }

  /** Gives up what is being made in the background, and what waits. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the engine is closing"));
    await this.#resuming;
    await Promise.all([this.#maker.close(), this.pool.close()]);
  }

  async fingerprint(ctx: OpContext): Promise<DriverFingerprint> {
    const missing = this.#parts.missing();
    if (missing.length > 0) return { available: false, reasons: missing, versions: {}, runtime: "" };
    const { kind, reason } = await this.#parts.acceleration(ctx);
    const noShares = this.#parts.fileDaemonProgram() === undefined;
    return {
      available: true,
      reasons: [
        ...(kind === "kvm" ? [] : [`emulation, not KVM: ${reason}`]),
        ...(noShares ? ["no binds or volumes: virtiofsd is not installed"] : []),
      ],
      versions: {},
      runtime: kind,
    };
  }

  refuse(spec: InstanceSpec): void {
    refuseUnsupported(spec);
    const missing = this.#parts.missing();
    if (missing.length > 0) throw machineErrors.MACHINES_UNAVAILABLE({ reasons: missing });
    const wantsShares = spec.mounts.some(({ type }) => type !== "tmpfs");
    if (wantsShares && this.#parts.fileDaemonProgram() === undefined) throw machineErrors.FILE_DAEMON_MISSING({});
  }

  async prepare(ctx: OpContext, request: PrepareRequest): Promise<{ handle: DriverHandle; pid: number }> {
    const missing = this.#parts.missing();
    if (missing.length > 0) throw machineErrors.MACHINES_UNAVAILABLE({ reasons: missing });
    const { id, dir, dataDir } = request;
    const scratch = join(dataDir, "scratch.qcow2");
    const shares = sharesOf(request);
    requireFiles(shares);
    const [kit, acceleration, image, blank, shareDaemon] = await Promise.all([
      this.#parts.kit(ctx),
      this.#parts.acceleration(ctx),
      this.#parts.imageDisk(ctx, request.chainId),
      this.#parts.blankDisk(ctx),
      shares.length === 0 ? [] : this.#shareDaemon(ctx),
    ]);
    const runDir = join(dir, "run");
    const spec = join(dir, "machine");
    await using reverter = new Reverter(ctx);
    await makeSmallDirectory(runDir, 0o700);
    const fields = await machineSpec(request, { acceleration, hostCpus: this.#host.facts.cpus, shareDaemon });
    const booting: JailParts = {
      vmm: this.#parts.vmm,
      spec,
      kernel: kit.kernel,
      initrd: kit.initrd,
      image,
      blank,
      scratch,
      runDir,
      kvm: acceleration.kind === "kvm",
      shares,
    };
    // What the instance wrote in its last run belongs to no template's memory.
    const isFirst = !existsSync(scratch) && request.resting !== true;
    const fitting = isFirst ? await this.#maker.keyOf(fields, { kit: kit.digest, parts: booting }) : undefined;
    const template = fitting === undefined ? undefined : this.#maker.find(fitting.key);
    const waiting = template === undefined ? undefined : this.#adoptable(template, request);
    if (waiting !== undefined) {
      reverter.add("end the machine that waited", (undo) => endKeeper(undo, this.containers, waiting.keeper));
      await moveIn(waiting, { scratch, runDir });
    } else if (template !== undefined) await copyScratch(join(template.directory, templateFiles.scratch), scratch);
    else if (!existsSync(scratch)) await this.#parts.scratchDisk(scratch, inJail.blank);
    const origin = [...(template === undefined ? [] : cloneFields), ...(waiting === undefined ? [] : adoptionFields)];
    await writeFile(spec, encodeFields([...fields, ...origin]), { mode: 0o600 });
    const jail = await jailRequest(
      request,
      template === undefined ? booting : { ...booting, template: { directory: template.directory, access: "ro" } },
    );
    const { handle, pid } = await this.containers.prepare(ctx, jail);
    reverter.add("destroy the jail", (undo) => this.containers.destroy(undo, handle));
    if (waiting !== undefined) await enterGroup(ctx, this.#host, waiting, request);
    reverter.commit();
    const { entrypoint, cmd } = request.spec.process;
    const command = [...entrypoint, ...cmd][0] ?? "";
    const memory = guestMemory(request.spec.resources);
    const process = inheritedFields(request);
    const from = template === undefined ? {} : { template: template.key };
    const keeper = waiting === undefined ? {} : { keeper: waiting.keeper };
    const ephemeral = isThrowAway(request.spec) ? { throwAway: true } : {};
    const machine: Machine = { id, runDir, process, command, memory, ...from, ...keeper, ...ephemeral, jail: handle };
    if (fitting !== undefined) {
      const scratchDisk = (path: string) => this.#parts.scratchDisk(path, inJail.blank);
      this.#starts.set(id, { request, fields, parts: booting, ...fitting, scratch: scratchDisk });
    }
    return { handle: handleOf(machine), pid };
  }

  /** Resolves when the main process runs in the guest; what kept it from that is the error. */
  async start(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const machine = machineOf(handle);
    const like = this.#starts.get(machine.id);
    this.#starts.delete(machine.id);
    // Its times run from here on: what is ahead of it is not held against it.
    using _turn = await this.#starting.take(ctx.signal);
    await this.containers.start(ctx, machine.jail);
    try {
      await this.#untilStarted(ctx, machine);
      if (like !== undefined && machine.template === undefined) this.#maker.want(like);
      if (like !== undefined) this.pool.used(like);
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      throw startFailure(machine, error);
    } finally {
      if (machine.keeper !== undefined) await checkAdoption(ctx, machine);
      if (machine.template !== undefined) await this.#checkTemplate(machine.runDir, machine.template);
    }
  }

  override async recover(ctx: OpContext, handle: DriverHandle): Promise<Recovered> {
    const found = await super.recover(ctx, handle);
    return found.status === "exited" ? { ...found, exit: await withNotes(machineOf(handle), found.exit) } : found;
  }

  override async wait(ctx: OpContext, handle: DriverHandle): Promise<TaskExit> {
    return await withNotes(machineOf(handle), await super.wait(ctx, handle));
  }

  override async signal(ctx: OpContext, handle: DriverHandle, signal: number): Promise<void> {
    if (signal === SIGKILL) return await killMachine(ctx, this.containers, machineOf(handle));
    await super.signal(ctx, handle, signal);
  }

  async exec(ctx: OpContext, handle: DriverHandle, request: ExecRequest): Promise<ExecTask> {
    const machine = machineOf(handle);
    const state = await this.containers.recover(ctx, machine.jail);
    if (state.status === "paused") throw driverErrors.TASK_PAUSED({ id: machine.id });
    if (state.status !== "running") throw driverErrors.TASK_NOT_RUNNING({ id: machine.id });
    return await execMachine(ctx, machine, request);
  }

  /** Time and disk as the host counts them; memory and processes as the guest does, while it can be asked. */
  async usage(ctx: OpContext, handle: DriverHandle): Promise<ResourceUsage> {
    const machine = machineOf(handle);
    const usage = await this.containers.usage(ctx, machine.jail);
    const { status } = await this.containers.recover(ctx, machine.jail);
    return await withGuestFigures(ctx, machine, usage, status === "running");
  }

  async update(ctx: OpContext, handle: DriverHandle, resources: ResourceSpec): Promise<void> {
    const machine = machineOf(handle);
    if (guestMemory(resources) > machine.memory) {
      const why = "its guest was started with less, which is fixed; stop it first";
      throw machineErrors.MACHINE_UNSUPPORTED({ what: "more memory while it runs", why });
    }
    await this.containers.update(ctx, machine.jail, jailResources(resources));
    await askAgent(ctx, machine, [["verb", "limit"], ...limitFields(resources)]);
  }

  override async destroy(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const { id, keeper } = machineOf(handle);
    this.#starts.delete(id);
    await super.destroy(ctx, handle);
    if (keeper !== undefined) await endKeeper(ctx, this.containers, keeper);
  }

  companions(handle: DriverHandle): readonly string[] {
    const { keeper } = machineOf(handle);
    return keeper === undefined ? [] : [keeper.id];
  }

  /** Jails are containers. */
  async collect(ctx: OpContext, keep: ReadonlySet<string>): Promise<readonly string[]> {
    await this.#parts.collect(await this.#partsInUse(keep));
    if (this.#parts.missing().length === 0 && this.#parts.templates.list().length > 0) {
      const kit = await this.#parts.currentKit();
      const { vmm } = this.#parts;
      if (kit !== undefined) this.#maker.dropStale({ kit, vmm, imagePath: (image) => this.#parts.imagePath(image) });
    }
    return await this.containers.collect(ctx, keep);
  }

  /** Words of the bundles of what runs, of which some are paths of what it was booted from. */
  async #partsInUse(ids: ReadonlySet<string>): Promise<readonly string[]> {
    const bundles = [...ids].map((id) => join(this.#places.runRoot, "instances", id, "config.json"));
    return await Promise.all(bundles.map(readIfThere));
  }

  async #shareDaemon(ctx: OpContext): Promise<readonly string[]> {
    const daemon = await this.#parts.fileDaemon(ctx);
    if (daemon === undefined) throw machineErrors.FILE_DAEMON_MISSING({});
    return fileDaemonWords(daemon, sharesRoot);
  }

  /** One that waits has the host's default place among those that the kernel would kill for memory. */
  #adoptable(template: Template, { spec }: PrepareRequest): WaitingMachine | undefined {
    return Math.max(0, spec.oomScoreAdj) === 0 ? this.pool.take(template.key) : undefined;
  }

  /** berth-vmm boots a machine that can't be restored, and leaves a note. */
  async #checkTemplate(runDir: string, key: string): Promise<void> {
    const reason = await templateFailureOf(runDir);
    if (reason !== undefined) await this.#maker.reject(key, reason);
  }

  async #untilStarted(ctx: OpContext, machine: Machine): Promise<void> {
    const deadline = performance.now() + startMs;
    for (;;) {
      ctx.signal.throwIfAborted();
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw machineErrors.AGENT_SILENT({ id: machine.id, seconds: startMs / 1000 });
      try {
        const channel = new AgentChannel(await connectToAgent(machine.runDir), [["verb", "started"]]);
        const giveUp = AbortSignal.any([ctx.signal, AbortSignal.timeout(Math.ceil(leftMs))]);
        const close = () => channel.close();
        giveUp.addEventListener("abort", close, { once: true });
        await channel.answer.finally(() => {
          giveUp.removeEventListener("abort", close);
          channel.close();
        });
        return;
      } catch (error) {
        const isLost = error instanceof AgentError && error.kind === "lost";
        if (!isLost && !isNobodyThere(error)) throw error;
      }
      const { status } = await this.containers.recover(ctx, machine.jail);
      if (status === "exited" || status === "lost") return await requireSuccess(machine);
      await delay(lookMs);
    }
  }
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    throw error;
  }
}

/** berth-vmm restores a machine when it can't take over the one that waited, and leaves a note. */
async function checkAdoption(ctx: OpContext, { id, runDir }: Machine): Promise<void> {
  const reason = await adoptionFailureOf(runDir);
  if (reason !== undefined) ctx.log.warn({ instance: id, reason }, "a waiting machine could not be taken over");
}

/** Published by rename: half a disk would be taken for the instance's own at its next start. */
async function copyScratch(from: string, to: string): Promise<void> {
  const draft = `${to}.draft`;
  await copyFile(from, draft);
  await chmod(draft, 0o600);
  await rename(draft, to);
}

/** With what berth-vmm has noted: that the guest's kernel killed for memory, or why there was no process, which nobody may have heard. */
async function withNotes(machine: Machine, exit: TaskExit): Promise<TaskExit> {
  const failure = await failureOf(machine.runDir);
  return {
    ...exit,
    oomKilled: exit.oomKilled || existsSync(join(machine.runDir, "oom")),
    ...(failure === undefined
      ? {}
      : { error: commandFailure("create", machine.command, failure)?.message ?? failure.message }),
  };
}

/** The machine has ended before it was asked: well, unless berth-vmm has noted why not. */
async function requireSuccess(machine: Machine): Promise<void> {
  const failure = await failureOf(machine.runDir);
  if (failure !== undefined) throw failure;
}

function startFailure({ id, command }: Machine, error: AgentError) {
  return (
    commandFailure("create", command, error) ??
    machineErrors.MACHINE_FAILED({ id, reason: error.message }, { cause: error })
  );
}
