/**
 * Whether KVM can be used here. Machines exist whose /dev/kvm opens and then never runs a guest to anywhere, so that QEMU hangs and does
 * not fall back: a small ROM has to get through long mode and say so. The verdict is kept for this boot of the host.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { type OpContext, withTimeout } from "../base/op-context.ts";
import { mkdir, writeFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";

export interface Acceleration {
  readonly kind: "kvm" | "tcg";
  /** Why not KVM, for `info`, `doctor` and the log; "" with KVM. */
  readonly reason: string;
}

export interface KvmProbeOptions {
  readonly host: Pick<Host, "processes" | "facts">;
  /** kvm-probe.bin of the guest's build. */
  readonly rom: string;
  /** Directory for the verdict; "" to keep none. */
  readonly root: string;
  /** "/", but in tests. */
  readonly hostRoot?: string;
}

/** QEMU's exit code when the ROM has written 42 to isa-debug-exit. */
const passed = 85;
const limitMs = 250;
/** Once more, where there is more to do than processors. */
const busyLimitMs = 1500;

export async function probeKvm(ctx: OpContext, options: KvmProbeOptions): Promise<Acceleration> {
  const file = join(options.root, "acceleration.json");
  const key = [options.host.facts.bootId, options.host.processes.which(program(options)) ?? ""].join(" ");
  const kept = options.root === "" ? undefined : readVerdict(file, key);
  if (kept !== undefined) return kept;
  const verdict = await look(ctx, options);
  if (options.root === "") return verdict;
  await mkdir(options.root, { recursive: true, mode: 0o700 });
  await writeFile(file, JSON.stringify({ key, ...verdict }));
  return verdict;
}

async function look(ctx: OpContext, options: KvmProbeOptions): Promise<Acceleration> {
  const at = (path: string) => join(options.hostRoot ?? "/", path);
  const tcg = (reason: string): Acceleration => ({ kind: "tcg", reason });
  if (!existsSync(at("dev/kvm"))) return tcg("there is no /dev/kvm");
  try {
    accessSync(at("dev/kvm"), constants.R_OK | constants.W_OK);
  } catch (error) {
    return tcg(`/dev/kvm can't be opened: ${messageOf(error)}`);
  }
  if (existsSync(at("sys/module/kvm_pvm"))) return tcg("its KVM (pvm) does not run ordinary guests");
  // Only here is there a ROM; elsewhere a device that opens is taken at its word.
  if (options.host.facts.architecture !== "amd64") return { kind: "kvm", reason: "" };
  if (!/^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync(at("proc/cpuinfo"), "utf8"))) {
    return tcg("the processor has no hardware virtualization (vmx or svm)");
  }
  const qemu = options.host.processes.which(program(options));
  if (qemu === undefined) return tcg("QEMU is not installed");
  const isBusy = (loadavg()[0] ?? 0) > options.host.facts.cpus;
  for (const limit of isBusy ? [limitMs, busyLimitMs] : [limitMs]) {
    const outcome = await runRom(ctx, options, qemu, limit);
    if (outcome === passed) return { kind: "kvm", reason: "" };
    if (outcome !== undefined) return tcg("/dev/kvm opens, and QEMU can't use it");
  }
  return tcg("/dev/kvm opens, and a guest in it does not run");
}

/** QEMU's exit code; undefined when it had to be killed. */
async function runRom(
  ctx: OpContext,
  { host, rom }: KvmProbeOptions,
  qemu: string,
  limitMs: number,
): Promise<number | undefined> {
  const machine = "microvm,x-option-roms=off,isa-serial=off,rtc=off,pit=off,pic=off,accel=kvm";
  const argv: [string, ...string[]] = [
    qemu,
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-M",
    machine,
    "-m",
    "8",
    "-bios",
    rom,
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=4",
  ];
  const child = await host.processes.spawn(ctx, { argv, env: {} });
  const { signal } = withTimeout(ctx, limitMs);
  const kill = () => host.processes.signal(child.identity, 9);
  signal.addEventListener("abort", kill, { once: true });
  const status = await child.exited;
  signal.removeEventListener("abort", kill);
  ctx.signal.throwIfAborted();
  return status.signal === 0 ? status.code : undefined;
}

function readVerdict(file: string, key: string): Acceleration | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const kept: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (!isVerdict(kept) || kept.key !== key) return undefined;
    return { kind: kept.kind, reason: kept.reason };
  } catch {
    return undefined; // Cut off by a kill: probed anew.
  }
}

function isVerdict(value: unknown): value is Acceleration & { readonly key: string } {
  if (typeof value !== "object" || value === null || !("key" in value && "kind" in value && "reason" in value))
    return false;
  return (
    typeof value.key === "string" && (value.kind === "kvm" || value.kind === "tcg") && typeof value.reason === "string"
  );
}

function program({ host }: KvmProbeOptions): string {
  return `qemu-system-${host.facts.machine}`;
}
