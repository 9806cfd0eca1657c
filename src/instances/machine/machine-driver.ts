/**
 * Whole-OS machines. As with the machines of `qemu/`, what a container's process is is berth-vmm in a jail, with QEMU below it; but the
 * guest is its own: it boots from its disks, and its end is its power-off. The serial console is the process's terminal.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { decodeFields, encodeFields, type Field } from "../../guest/frames.ts";
import { errnoOf } from "../../host/errors.ts";
import { makeSmallDirectory, rm, writeFile } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { DriverHandle, InstanceSpec } from "../../schema/instance.ts";
import type { MachineSpec } from "../../schema/machine.ts";
import type { ResourceSpec, ResourceUsage } from "../../schema/resources.ts";
import type {
  Driver,
  DriverFingerprint,
  DriverInside,
  ExecRequest,
  ExecTask,
  PrepareRequest,
  ResolvedMount,
} from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import type { BootParts } from "../qemu/boot-parts.ts";
import { machineErrors } from "../qemu/errors.ts";
import { bind, jailOf, readOnly } from "../qemu/jail.ts";
import { JailedDriver } from "../qemu/jailed-driver.ts";
import { machineCpus, machineMemory } from "../qemu/machine-size.ts";
import type { Monitors } from "../../qemu/monitors.ts";
import type { GuestAgents } from "../../qemu/qga-client.ts";
import { execByAgent } from "./agent-exec.ts";
import { agentInside } from "./agent-files.ts";
import { hardwareErrors } from "./errors.ts";
import { handleOf, type HardwareHandle, hardwareOf } from "./handle.ts";
import { hardwareResources } from "./hardware-size.ts";
import { isIncoming } from "./incoming-mark.ts";
import { basesDir, disksDir, inJail, socketsDir, tpmDir } from "./layout.ts";
import { qemuLine } from "./qemu-line.ts";
import { refuseHardware } from "./refuse.ts";
import { hasMemoryLeft, hasResumePoint, readResumePoint, removeMemoryLeft, resumeFrom } from "./resume-point.ts";
import { uefiFiles } from "./uefi.ts";

export interface MachineDriverOptions {
  readonly host: Host;
  /** The driver of containers, which the jails are. */
  readonly containers: Driver;
  readonly parts: Pick<BootParts, "vmm" | "missingHardware" | "acceleration">;
  readonly dataRoot: string;
  /** Shared with whoever else asks the guests. */
  readonly agents: GuestAgents;
  readonly monitors: Monitors;
}

const lookMs = 5;
/** For QEMU to answer, on a machine that does much else. */
const startMs = 60_000;

export class MachineDriver extends JailedDriver implements Driver {
  readonly name = "machine";
  readonly isolation = "vm";
  readonly hardware = true;
  readonly inside: DriverInside;
  readonly #host: Host;
  readonly #parts: MachineDriverOptions["parts"];
  readonly #dataRoot: string;
  readonly #agents: GuestAgents;
  readonly #monitors: Monitors;

  constructor({ host, containers, parts, dataRoot, agents, monitors }: MachineDriverOptions) {
    super(containers, (handle) => hardwareOf(handle).jail);
    this.#host = host;
    this.#parts = parts;
    this.#dataRoot = dataRoot;
    this.#agents = agents;
    this.#monitors = monitors;
    this.inside = agentInside((handle) => agents.at(agentSocket(hardwareOf(handle))));
  }

  async fingerprint(ctx: OpContext): Promise<DriverFingerprint> {
    const missing = this.#parts.missingHardware();
    if (missing.length > 0) return { available: false, reasons: missing, versions: {}, runtime: "" };
    const { kind, reason } = await this.#parts.acceleration(ctx);
    return { available: true, reasons: kind === "kvm" ? [] : [`emulation: ${reason}`], versions: {}, runtime: kind };
  }

  refuse(spec: InstanceSpec): void {
    refuseHardware(spec, { host: this.#host });
    const missing = this.#parts.missingHardware();
    if (missing.length > 0) throw machineErrors.MACHINES_UNAVAILABLE({ reasons: missing });
  }

  async prepare(ctx: OpContext, request: PrepareRequest): Promise<{ handle: DriverHandle; pid: number }> {
    const missing = this.#parts.missingHardware();
    if (missing.length > 0) throw machineErrors.MACHINES_UNAVAILABLE({ reasons: missing });
    const { id, dir, dataDir } = request;
    const machine = requireHardware(request.spec);
    const { kind } = await this.#parts.acceleration(ctx);
    const runDir = socketsDir(dir);
    const spec = join(dir, "machine");
    // What another run has left would be taken for this one's.
    await rm(runDir, { recursive: true, force: true });
    await makeSmallDirectory(runDir, 0o700);
    await writeFile(spec, encodeFields(this.#fields(request, machine, kind)), { mode: 0o600 });
    const jail = await jailOf(request, {
      argv: [inJail.vmm, "machine", inJail.spec],
      mounts: this.#mounts(request, machine, { spec, runDir }),
      kvm: kind === "kvm",
      resources: hardwareResources(request.spec.resources),
    });
    const { handle, pid } = await this.containers.prepare(ctx, jail);
    return { handle: handleOf({ id, runDir, dataDir, jail: handle }), pid };
  }

  /** Resolves when QEMU runs the machine: what the guest makes of it is on its console. */
  async start(ctx: OpContext, handle: DriverHandle): Promise<void> {
    const machine = hardwareOf(handle);
    await this.containers.start(ctx, machine.jail);
    const deadline = performance.now() + startMs;
    while (!existsSync(join(machine.runDir, "vmm.sock"))) {
      ctx.signal.throwIfAborted();
      if (performance.now() > deadline)
        throw hardwareErrors.HARDWARE_SILENT({ id: machine.id, seconds: startMs / 1000 });
      const { status } = await this.containers.recover(ctx, machine.jail);
      if (status === "exited" || status === "lost") throw await startFailure(machine);
      await delay(lookMs);
    }
    await this.#resume(ctx, machine);
  }

  async exec(ctx: OpContext, handle: DriverHandle, request: ExecRequest): Promise<ExecTask> {
    const machine = hardwareOf(handle);
    const { status } = await this.containers.recover(ctx, machine.jail);
    if (status === "paused") throw driverErrors.TASK_PAUSED({ id: machine.id });
    if (status !== "running") throw driverErrors.TASK_NOT_RUNNING({ id: machine.id });
    return await execByAgent(ctx, this.#agents.at(agentSocket(machine)), machine.id, request);
  }

  /** As the host counts: a guest of its own need not be asked. */
  async usage(ctx: OpContext, handle: DriverHandle): Promise<ResourceUsage> {
    return await this.containers.usage(ctx, hardwareOf(handle).jail);
  }

  /** The limits around it. What the guest sees of memory and processors is QEMU's to change. */
  async update(ctx: OpContext, handle: DriverHandle, resources: ResourceSpec): Promise<void> {
    await this.containers.update(ctx, hardwareOf(handle).jail, hardwareResources(resources));
  }

  /** Jails are containers, whose driver collects them. */
  async collect(): Promise<readonly string[]> {
    return [];
  }

  /** What was saved goes on where it was; see `resume-point.ts`. */
  async #resume(ctx: OpContext, { id, runDir, dataDir }: HardwareHandle): Promise<void> {
    const point = await readResumePoint(dataDir);
    if (point === undefined) {
      if (hasMemoryLeft(dataDir)) await this.#removeMemoryLeft(ctx, { id, runDir, dataDir });
      return;
    }
    try {
      using monitor = await this.#monitors.open(ctx, join(runDir, "qmp.sock"));
      await resumeFrom(ctx, monitor.qmp, dataDir, point);
    } catch (error) {
      ctx.signal.throwIfAborted();
      throw hardwareErrors.RESUME_FAILED({ id, what: point.name, reason: messageOf(error) }, { cause: error });
    }
  }

  /** Room in the disks, which a start does not fail for. */
  async #removeMemoryLeft(
    ctx: OpContext,
    { id, runDir, dataDir }: Pick<HardwareHandle, "id" | "runDir" | "dataDir">,
  ): Promise<void> {
    try {
      using monitor = await this.#monitors.open(ctx, join(runDir, "qmp.sock"));
      await removeMemoryLeft(ctx, monitor.qmp, dataDir, id);
    } catch (error) {
      ctx.signal.throwIfAborted();
      ctx.log.warn({ machine: id, error: messageOf(error) }, "memory that was not saved to its end stays in the disks");
    }
  }

  #fields(request: PrepareRequest, machine: MachineSpec, acceleration: "kvm" | "tcg"): readonly Field[] {
    const { id, endpoints, spec } = request;
    const nics = machine.nics.map(({ network }) => endpoints.find(({ networkName }) => networkName === network));
    const macs = Object.fromEntries(endpoints.map(({ networkName, macAddress }) => [networkName, macAddress]));
    const line = qemuLine(machine, {
      id,
      name: spec.name,
      program: `qemu-system-${this.#host.facts.machine}`,
      acceleration,
      memory: machineMemory(spec.resources),
      cpus: machineCpus(spec.resources, Number.MAX_SAFE_INTEGER),
      macs,
      uefiCode: machine.firmware === "uefi" ? uefiFiles().code : "",
    });
    return [
      ["run", inJail.run],
      // A card whose network is gone has no cable.
      ...nics.map((endpoint): Field => ["net", endpoint?.interfaceName || "-"]),
      ...(machine.tpm ? swtpm : []),
      ...line.map((word): Field => ["arg", word]),
      // What it goes on from is put in its place before the guest runs.
      ...(hasResumePoint(request.dataDir) ? [["arg", "-S"] as const] : []),
      // Its memory comes from another engine, as do its disks.
      ...(isIncoming(request.dataDir) ? ["-incoming", "defer", "-S"].map((word): Field => ["arg", word]) : []),
    ];
  }

  #mounts(
    { dataDir, id }: PrepareRequest,
    machine: MachineSpec,
    { spec, runDir }: { readonly spec: string; readonly runDir: string },
  ): readonly ResolvedMount[] {
    const bases = [...new Set(machine.disks.flatMap(({ base }) => (base === "" ? [] : [base])))];
    return [
      readOnly(this.#parts.vmm, inJail.vmm),
      readOnly(spec, inJail.spec),
      bind(runDir, inJail.run, "rw"),
      bind(disksDir(dataDir), inJail.disks(id), "rw"),
      ...(machine.tpm ? [bind(tpmDir(dataDir), inJail.tpm, "rw")] : []),
      ...bases.map((file) => readOnly(join(basesDir(this.#dataRoot), file), inJail.base(file))),
    ];
  }
}

const agentSocket = ({ runDir }: HardwareHandle) => join(runDir, "qga.sock");

const swtpmSocket = `${inJail.run}/tpm.sock`;
const swtpm: readonly Field[] = [
  [
    "helper",
    [
      "swtpm",
      "socket",
      "--tpm2",
      "--tpmstate",
      `dir=${inJail.tpm},mode=0600`,
      "--ctrl",
      `type=unixio,path=${swtpmSocket}`,
      "--terminate",
    ].join("\n"),
  ],
  ["wait", swtpmSocket],
];

function requireHardware({ machine }: InstanceSpec): MachineSpec {
  if (machine === undefined) throw new Error("an instance without a description of its hardware is another driver's");
  return machine;
}

async function startFailure({ id, runDir }: HardwareHandle) {
  const words = await lastWords(join(runDir, "failure"));
  if (/Failed to get ".*" lock/.test(words)) return hardwareErrors.HARDWARE_DISK_IN_USE({ id, reason: words });
  return hardwareErrors.HARDWARE_FAILED({ id, reason: words });
}

async function lastWords(file: string): Promise<string> {
  try {
    const fields = new Map(decodeFields(await readFile(file)));
    return [fields.get("message") ?? "", fields.get("qemu") ?? ""].filter((word) => word.trim() !== "").join("\n");
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    return "its jail ended before QEMU ran; its log may say why";
  }
}
