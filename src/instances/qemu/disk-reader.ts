/**
 * Files of an operating system on a disk, whoever made that: read by a machine that mounts it and runs nothing of it. It has a jail of
 * its own that belongs to no instance, ends with its user, and by itself when the engine dies.
 */
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../base/ids.ts";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import type { DiskImage } from "../../disks/virtual-disks.ts";
import { encodeFields, type Field } from "../../guest/frames.ts";
import { makeSmallDirectory, rm, writeFile } from "../../host/files.ts";
import type { Ledger } from "../../ledger/ledger.ts";
import type { DriverHandle, InstanceSpec } from "../../schema/instance.ts";
import { unlimited } from "../../schema/resources.ts";
import { bareSpec } from "../bare-spec.ts";
import type { Driver, PrepareRequest } from "../driver.ts";
import { claimOf } from "../request.ts";
import { AgentChannel, AgentError } from "./agent-channel.ts";
import { connectToAgent, isNobodyThere } from "./agent-socket.ts";
import type { BootParts } from "./boot-parts.ts";
import { machineErrors } from "./errors.ts";
import { bind, jailOf, readOnly } from "./jail.ts";
import { failureOf } from "./machine-failure.ts";
import { outputOf } from "./machine-inside.ts";
import { openChannel } from "./ask-agent.ts";
import { inJail } from "./machine-spec.ts";
import { jailResources } from "./machine-size.ts";

export interface DiskReaderOptions {
  /** The driver of containers, which the jails are. */
  readonly containers: Driver;
  readonly parts: Pick<BootParts, "vmm" | "missing" | "kit" | "acceleration">;
  readonly ledger: Pick<Ledger, "admit">;
  readonly runRoot: string;
  readonly cgroupParent: string;
}

/** What of a tree is packed: patterns are those of glob(7), from the root on, without a slash in front. */
export interface TreeChoice {
  /** Not at all. */
  readonly leave: readonly string[];
  /** Directories without what is in them, files without content. */
  readonly empty: readonly string[];
}

export interface DiskFiles extends AsyncDisposable {
  /** A tar of everything, from "./" on. Read it to its end, or destroy it. */
  pack(ctx: OpContext, choice: TreeChoice): Promise<Readable>;
  /** A tar of the one file, or undefined where there is none. */
  file(ctx: OpContext, path: string): Promise<Readable | undefined>;
}

/** A machine that has its root mounted. */
interface Reading {
  readonly id: string;
  readonly runDir: string;
}

const MiB = 1024 * 1024;
/** For a file system of many gigabytes, whose tables are read when it is mounted. */
const memory = 256 * MiB;
const startMs = 120_000;
const lookMs = 10;
const serial = "os";

export class DiskReader {
  readonly #options: DiskReaderOptions;

  constructor(options: DiskReaderOptions) {
    this.#options = options;
  }

  /**
   * Mounts the root on `disk`, whose topmost file is written to: a file system that was not put away properly is put in order there.
   * `name` is for messages. `DISK_HAS_NO_ROOT`, `MACHINES_UNAVAILABLE`, `CAPACITY_SHORT`.
   */
  async open(ctx: OpContext, disk: DiskImage, name: string): Promise<DiskFiles> {
    const { parts, runRoot } = this.#options;
    const missing = parts.missing();
    if (missing.length > 0) throw machineErrors.MACHINES_UNAVAILABLE({ reasons: missing });
    const id = newId();
    const dir = join(runRoot, "instances", id);
    const undo = new Reverter(ctx);
    try {
      const machine = await this.#boot(ctx, { id, dir, disk, name }, undo);
      return {
        pack: (own, choice) => pack(own, machine, "/", ".", choiceFields(choice)),
        file: (own, path) => packIfThere(own, machine, path),
        [Symbol.asyncDispose]: () => undo[Symbol.asyncDispose](),
      };
    } catch (error) {
      await undo[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #boot(
    ctx: OpContext,
    {
      id,
      dir,
      disk,
      name,
    }: { readonly id: string; readonly dir: string; readonly disk: DiskImage; readonly name: string },
    undo: Reverter,
  ): Promise<Reading> {
    const { containers, parts, ledger } = this.#options;
    const runDir = join(dir, "run");
    const spec = readerSpec(`reader of ${name}`);
    const share = ledger.admit(claimOf({ id, name: spec.name, spec }));
    undo.add("give its share of the machine back", () => share[Symbol.dispose]());
    await makeSmallDirectory(dir, 0o700);
    undo.add("remove its directory", () => rm(dir, { recursive: true, force: true }));
    await makeSmallDirectory(runDir, 0o700);
    const [kit, { kind }] = await Promise.all([parts.kit(ctx), parts.acceleration(ctx)]);
    const layers = layersOf(disk);
    await writeFile(join(dir, "machine"), encodeFields(readerFields(kind, layers)), { mode: 0o600 });
    const jail = await jailOf(this.#request(id, dir, spec), {
      argv: [inJail.vmm, "run", inJail.spec],
      mounts: [
        readOnly(parts.vmm, inJail.vmm),
        readOnly(join(dir, "machine"), inJail.spec),
        readOnly(kit.kernel, inJail.kernel),
        readOnly(kit.readerInitrd, inJail.initrd),
        bind(runDir, inJail.run, "rw"),
        ...layers.map(({ file }, nth) => bind(file, layerInJail(nth), nth === 0 ? "rw" : "ro")),
      ],
      kvm: kind === "kvm",
      resources: jailResources(spec.resources),
    });
    const { handle } = await containers.prepare(ctx, jail);
    undo.add("end it", (own) => containers.destroy(own, handle));
    await containers.start(ctx, handle);
    await this.#untilMounted(withTimeout(ctx, startMs), { id, runDir }, handle, name);
    return { id, runDir };
  }

  async #untilMounted(ctx: OpContext, { id, runDir }: Reading, handle: DriverHandle, name: string): Promise<void> {
    for (;;) {
      ctx.signal.throwIfAborted();
      try {
        const channel = new AgentChannel(await connectToAgent(runDir), [["verb", "started"]]);
        const close = () => channel.close();
        ctx.signal.addEventListener("abort", close, { once: true });
        await channel.answer.finally(() => {
          ctx.signal.removeEventListener("abort", close);
          channel.close();
        });
        return;
      } catch (error) {
        const isLost = error instanceof AgentError && error.kind === "lost";
        if (!isLost && !isNobodyThere(error)) throw await refusalOf(runDir, id, name, error);
      }
      const { status } = await this.#options.containers.recover(ctx, handle);
      if (status === "exited" || status === "lost") throw await refusalOf(runDir, id, name, undefined);
      await delay(lookMs);
    }
  }

  #request(id: string, dir: string, spec: InstanceSpec): PrepareRequest {
    return {
      id,
      spec,
      dir,
      dataDir: dir,
      chainId: "",
      rootfs: "",
      mounts: [],
      hostname: "reader",
      namespaces: { network: "private", pid: "private", ipc: "private", uts: "private", cgroup: "private" },
      interfaces: [],
      endpoints: [],
      cgroupPath: `${this.#options.cgroupParent}/${id}`,
      logPath: "",
      resting: true,
    };
  }
}

function readerFields(accel: string, layers: readonly DiskImage[]): readonly Field[] {
  return [
    ["accel", accel],
    ["memory", String(memory / MiB)],
    ["cpus", "1"],
    ["kernel", inJail.kernel],
    ["initrd", inJail.initrd],
    ["run", inJail.run],
    ["maintenance", "1"],
    ["mount.os", serial],
    ["device", `-blockdev\n${JSON.stringify(blockNode(layers, 0))}`],
    ["device", `-device\nvirtio-blk-pci,drive=${serial},serial=${serial},addr=0x6`],
  ];
}

function choiceFields({ leave, empty }: TreeChoice): readonly Field[] {
  return [...leave.map((pattern): Field => ["leave", pattern]), ...empty.map((pattern): Field => ["empty", pattern])];
}

async function refusalOf(runDir: string, id: string, name: string, cause: unknown): Promise<Error> {
  const failure = cause instanceof AgentError ? cause : await failureOf(runDir);
  if (failure?.kind === "no-root") return machineErrors.DISK_HAS_NO_ROOT({ name, found: failure.message }, { cause });
  const reason = failure?.message ?? "it ended without a word";
  return machineErrors.MACHINE_FAILED({ id, reason }, { cause });
}

async function pack(
  ctx: OpContext,
  machine: Reading,
  path: string,
  name: string,
  further: readonly Field[],
): Promise<Readable> {
  const channel = await openChannel(machine, [["verb", "pack"], ["path", path], ["name", name], ...further]);
  return Readable.from(outputOf(ctx, channel, `pack ${path}`), { objectMode: false });
}

async function packIfThere(ctx: OpContext, machine: Reading, path: string): Promise<Readable | undefined> {
  const channel = await openChannel(machine, [
    ["verb", "stat"],
    ["path", path],
  ]);
  try {
    await channel.answer;
  } catch (error) {
    if (error instanceof AgentError && error.errno !== 0) return undefined;
    throw error;
  } finally {
    channel.close();
  }
  return await pack(ctx, machine, path, "file", []);
}

const layerInJail = (nth: number) => `/berth/disk${nth}`;

/** The disk's file, what it stands on, and so on. */
function layersOf(disk: DiskImage): readonly DiskImage[] {
  return disk.backing === undefined ? [disk] : [disk, ...layersOf(disk.backing)];
}

/** Each names what it stands on: what the files' headers say of that is not followed. */
function blockNode(layers: readonly DiskImage[], nth: number): object | null {
  const layer = layers[nth];
  if (layer === undefined) return null;
  const isTop = nth === 0;
  return {
    driver: layer.format,
    ...(isTop ? { "node-name": serial, discard: "unmap" } : {}),
    "read-only": !isTop,
    file: { driver: "file", filename: layerInJail(nth), "read-only": !isTop },
    ...(layer.format === "qcow2" ? { backing: blockNode(layers, nth + 1) } : {}),
  };
}

/** An instance that is nobody's. */
function readerSpec(name: string): InstanceSpec {
  return {
    ...bareSpec,
    isolation: "vm",
    name,
    image: "",
    resources: { ...unlimited, memory },
    autoRemove: true,
    internal: true,
  };
}
