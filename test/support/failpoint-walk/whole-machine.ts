/** The whole-OS machine that operations are walked on: a boot sector that counts in memory and on its disk. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makeCounterDisk } from "../../integration/qemu/counter-guest.ts";
import { runCommand } from "../run-command.ts";
import { pause, type World } from "./world.ts";

export interface MachineView {
  readonly id: string;
  readonly status: string;
  readonly hardware: {
    readonly disks: readonly { readonly name: string; readonly file: string; readonly size: number }[];
    readonly nics: readonly { readonly name: string }[];
  };
  readonly disksDirectory: string;
}

export async function findMachine(world: World, name = "op"): Promise<MachineView | undefined> {
  return await world.find<MachineView>(`/berth/v1/machines/${name}`);
}

export async function getMachine(world: World, name = "op"): Promise<MachineView> {
  return await world.call<MachineView>("GET", `/berth/v1/machines/${name}`);
}

/** What is told as a stream of messages tells its failure in one of them. */
export async function requireSuccess(messages: Promise<unknown>): Promise<void> {
  const text = JSON.stringify(await messages);
  const error = /"errorDetail.*?message\\?":\\?"([^"]*)/.exec(text)?.[1];
  if (error !== undefined) throw new Error(error);
}

/** Its directory is for files of operations, too. */
export function counterDisk(world: World): string {
  const directory = join(world.engine.directory, "guest");
  const file = join(directory, "disk.qcow2");
  if (existsSync(file)) return file;
  mkdirSync(directory, { recursive: true });
  return makeCounterDisk(directory);
}

export async function createOff(world: World, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const body = { name: "op", diskFile: counterDisk(world), memory: 32 * 1024 * 1024, cpus: 1, ...more };
  await requireSuccess(world.call("POST", "/berth/v1/machines", { body }));
}

/** It has counted to one in memory, and to none on the disk. */
export async function createOn(world: World): Promise<void> {
  await createOff(world, { start: true });
  if ((await ask(world, "+")) !== "1") throw new Error("the machine does not count");
}

export async function post(world: World, verb: string, body: unknown = {}, name = "op"): Promise<void> {
  await world.call("POST", `/berth/v1/machines/${name}/${verb}`, { body });
}

/** The digits that the guest answers `orders` with on its serial console. */
export async function ask(world: World, orders: string, name = "op"): Promise<string> {
  const { id } = await getMachine(world, name);
  using client = world.engine.client();
  const query = { stream: true, stdin: true, stdout: true, stderr: true };
  const { socket, head } = await client.upgrade("POST", `/containers/${id}/attach`, { query });
  try {
    let seen = head.toString();
    socket.on("data", (bytes: Buffer) => (seen += bytes.toString()));
    socket.on("error", () => {});
    const digits = () => seen.replaceAll(/\D/g, "");
    // Until it has booted it answers nothing.
    for (let tries = 0; digits() === ""; tries++) {
      if (tries === 100 || socket.destroyed) throw new Error(`the machine ${name} does not answer on its console`);
      socket.write("?");
      for (let n = 0; n < 10 && digits() === ""; n++) await pause(50);
    }
    // Answers to what was asked before.
    for (let before = -1; before !== digits().length; await pause(500)) before = digits().length;
    const before = digits().length;
    for (const [nth, order] of Array.from(orders).entries()) {
      socket.write(order);
      for (let n = 0; n < 400 && digits().length < before + nth + 1; n++) await pause(25);
    }
    return digits().slice(before);
  } finally {
    socket.destroy();
  }
}

/** Boots a machine that is off, to see that it can be. */
export async function requireBootable(world: World, name: string): Promise<void> {
  await post(world, "start", {}, name);
  await ask(world, "?", name);
}

/** What the guest's first disk has in its second sector, as a file's reader sees it. */
export async function countOnDisk(world: World, name = "op"): Promise<number> {
  const { hardware, disksDirectory } = await getMachine(world, name);
  const raw = join(world.engine.directory, "guest", "read.raw");
  const file = join(disksDirectory, hardware.disks[0]?.file ?? "");
  await qemuImg("convert", "-U", "-O", "raw", file, raw);
  return readFileSync(raw)[512] ?? -1;
}

export async function virtualSize(file: string): Promise<number> {
  const info: { readonly "virtual-size": number } = JSON.parse(await qemuImg("info", "-U", "--output=json", file));
  return info["virtual-size"];
}

async function qemuImg(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runCommand("qemu-img", words);
  if (code !== 0) throw new Error(`qemu-img ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/**
 * A line for each file that belongs to nobody in an engine's machines, and for each snapshot in a disk that its machine does not know, or
 * the other way round.
 */
export async function machineFileFaults(world: World): Promise<readonly string[]> {
  const { machines } = await world.call<{ readonly machines: readonly MachineView[] }>("GET", "/berth/v1/machines");
  const faults: string[] = [];
  const shared = join(world.engine.dataRoot, "machines");
  for (const name of ["transfers", "imports"]) {
    faults.push(...namesIn(join(shared, name)).map((file) => `nobody owns machines/${name}/${file}`));
  }
  const bases = new Set(machines.flatMap(({ hardware }) => hardware.disks.map((disk) => baseOf(disk))));
  const there = namesIn(join(shared, "bases"));
  faults.push(...there.filter((file) => !bases.has(file)).map((file) => `nobody owns the base ${file}`));
  for (const { id, hardware, disksDirectory, status } of machines) {
    const known = new Set(["seed.img", "uefi-vars.qcow2", ...hardware.disks.map(({ file }) => file)]);
    const files = namesIn(disksDirectory);
    faults.push(...files.filter((file) => !known.has(file)).map((file) => `nobody owns ${file} of the machine ${id}`));
    for (const { file } of hardware.disks) if (!files.includes(file)) faults.push(`the disk ${file} of ${id} is gone`);
    for (const name of namesIn(join(disksDirectory, ".."))) {
      if (name === "frozen" || name.endsWith(".draft")) faults.push(`${name} is left in the directory of ${id}`);
    }
    const { snapshots } = await world.call<{ readonly snapshots: readonly { readonly id: string }[] }>(
      "GET",
      `/berth/v1/machines/${id}/snapshots`,
    );
    const wanted = snapshots.map((snapshot) => `berth-${snapshot.id}`);
    if (existsSync(join(disksDirectory, "..", "resume.json")) && status !== "running") wanted.push("berth-saved");
    for (const { name, file } of hardware.disks.slice(0, 1)) {
      const info: { readonly snapshots?: readonly { readonly name: string }[] } = JSON.parse(
        await qemuImg("info", "-U", "--output=json", join(disksDirectory, file)),
      );
      const tags = (info.snapshots ?? []).map((snapshot) => snapshot.name);
      const [has, wants] = [tags.toSorted().join(), [...new Set(wanted)].toSorted().join()];
      if (has !== wants) faults.push(`the disk ${name} of ${id} keeps the snapshots "${has}", not "${wants}"`);
    }
  }
  return faults;
}

function baseOf(disk: object): string {
  return "base" in disk && typeof disk.base === "string" ? disk.base : "";
}

function namesIn(directory: string): readonly string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
