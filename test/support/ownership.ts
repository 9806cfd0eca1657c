/** What is on the host under an engine's name against what its API tells: everything has an owner, and every owner has it. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { EngineProcess } from "./engine-process.ts";

interface Container {
  readonly Id: string;
  readonly State: string;
  readonly Ports: readonly { readonly IP?: string; readonly PublicPort?: number; readonly Type: string }[];
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly NetworkID: string }>> };
}

interface Owners {
  readonly containers: readonly Container[];
  readonly known: ReadonlySet<string>;
  /** Not those that a removal has begun to take apart. */
  readonly whole: ReadonlySet<string>;
  readonly running: ReadonlySet<string>;
  readonly volumes: ReadonlySet<string>;
  readonly networks: ReadonlySet<string>;
}

/** One line for each thing that has no owner or is missing; asks for a while, since what has just ended is still being cleaned up. */
export async function ownershipFaults(engine: EngineProcess, patienceMs = 20_000): Promise<readonly string[]> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const owners = await ownersOf(engine);
    const faults = [
      ...directoryFaults(engine, owners),
      ...recordFaults(engine, owners),
      ...mountFaults(engine, owners),
      ...cgroupFaults(engine, owners),
      ...processFaults(engine, owners),
      ...linkFaults(engine, owners),
      ...portFaults(engine, owners),
    ];
    if (faults.length === 0 || Date.now() > deadline) return faults;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function ownersOf(engine: EngineProcess): Promise<Owners> {
  using client = engine.client();
  const containers = await client.call<readonly Container[]>("GET", "/containers/json", { query: { all: true } });
  const { Volumes } = await client.call<{ Volumes: readonly { Name: string }[] }>("GET", "/volumes");
  const networks = await client.call<readonly { Id: string }[]>("GET", "/networks");
  return {
    containers,
    known: new Set(containers.map(({ Id }) => Id)),
    whole: new Set(containers.filter(({ State }) => State !== "dead").map(({ Id }) => Id)),
    running: new Set(containers.filter(isRunning).map(({ Id }) => Id)),
    volumes: new Set(Volumes.map(({ Name }) => Name)),
    networks: new Set(networks.map(({ Id }) => Id)),
  };
}

function isRunning({ State }: Container): boolean {
  return State === "running" || State === "paused";
}

function directoryFaults({ dataRoot, runRoot }: EngineProcess, owners: Owners): readonly string[] {
  const { known, whole, running, volumes, networks } = owners;
  const none: ReadonlySet<string> = new Set();
  return [
    ...differences(join(dataRoot, "instances"), known, whole),
    ...differences(join(dataRoot, "snapshots/active"), known, whole),
    ...["snapshots/drafts", "snapshots/trash", "snapshots/views", "work"].flatMap((name) =>
      differences(join(dataRoot, name), none),
    ),
    ...differences(join(dataRoot, "volumes"), volumes, volumes),
    ...["instances", "netns", "sandboxes", "runtime/crun", "runtime/runc"].flatMap((name) =>
      differences(join(runRoot, name), running),
    ),
    ...differences(join(runRoot, "instances"), running, running),
    ...differences(join(runRoot, "networks"), networks),
  ];
}

/** What is in a directory but not `allowed`, and what is `required` but not there. */
function differences(
  directory: string,
  allowed: ReadonlySet<string>,
  required: ReadonlySet<string> = new Set(),
): readonly string[] {
  const names = new Set(existsSync(directory) ? readdirSync(directory) : []);
  return [
    ...[...names].filter((name) => !allowed.has(name)).map((name) => `nobody owns ${join(directory, name)}`),
    ...[...required].filter((name) => !names.has(name)).map((name) => `missing: ${join(directory, name)}`),
  ];
}

function recordFaults({ dataRoot }: EngineProcess, { running }: Owners): readonly string[] {
  // A copy: the engine has its own locked.
  const copy = mkdtempSync(join(tmpdir(), "berth-records-"));
  for (const name of ["state.db", "state.db-wal"]) cpSync(join(dataRoot, name), join(copy, name));
  const db = new DatabaseSync(join(copy, "state.db"));
  try {
    const journal = db.prepare("SELECT kind, subject FROM journal").all();
    const sandboxes = db.prepare("SELECT id FROM records WHERE collection = 'sandboxes'").all();
    return [
      ...journal.map(({ kind, subject }) => `open journal entry ${String(kind)} of ${String(subject)}`),
      ...sandboxes.filter(({ id }) => !running.has(String(id))).map(({ id }) => `nobody owns sandbox ${String(id)}`),
    ];
  } finally {
    db.close();
    rmSync(copy, { recursive: true });
  }
}

function mountFaults({ directory, dataRoot, runRoot }: EngineProcess, { running }: Owners): readonly string[] {
  const allowed = new Set([
    ...[...running].map((id) => join(dataRoot, "snapshots/active", id, "merged")),
    ...[...running].map((id) => join(runRoot, "netns", id)),
    ...[...running].map((id) => join(runRoot, "instances", id, "shm")),
  ]);
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => [directory, dataRoot].some((root) => target.startsWith(`${root}/`)) && !allowed.has(target))
    .map((target) => `nobody owns mount ${target}`);
}

function cgroupFaults({ tag }: EngineProcess, { running }: Owners): readonly string[] {
  return ["", ...readdirSync("/sys/fs/cgroup")].flatMap((hierarchy) => {
    const parent = join("/sys/fs/cgroup", hierarchy, `berth-${tag}`);
    if (!existsSync(parent)) return [];
    return readdirSync(parent, { withFileTypes: true })
      .filter((item) => item.isDirectory() && !running.has(item.name))
      .map(({ name }) => `nobody owns cgroup ${join(parent, name)}`);
  });
}

function processFaults({ runRoot, pid: engine }: EngineProcess, { running, networks }: Owners): readonly string[] {
  const monitored: string[] = [];
  const faults = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== engine)
    .flatMap((pid) => {
      const words = commandOf(pid);
      const program = basename(words[0] ?? "");
      const command = words.join(" ");
      if (!command.includes(runRoot)) return [];
      if (program === "conmon") {
        const id = words[words.indexOf("-c") + 1] ?? "";
        // Not of a command in it (exec -d, exec -t), which may outlive the call that began it.
        if (!words.includes("-e")) monitored.push(id);
        return running.has(id) ? [] : [`nobody owns process ${pid} ${command}`];
      }
      const network = /\/networks\/([0-9a-f]{64})\//.exec(command)?.[1];
      if (program === "dnsmasq" && network !== undefined && networks.has(network)) return [];
      const instance = /\/sandboxes\/([0-9a-f]{64})\//.exec(command)?.[1];
      if (program === "dnsmasq" && instance !== undefined && running.has(instance)) return [];
      return ["dnsmasq", "crun", "runc", "nsenter"].includes(program) ? [`nobody owns process ${pid} ${command}`] : [];
    });
  return [
    ...faults,
    ...[...running].filter((id) => !monitored.includes(id)).map((id) => `no monitor of ${id}`),
    ...monitored.filter((id, i) => monitored.indexOf(id) !== i).map((id) => `two monitors of ${id}`),
  ];
}

function commandOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    return []; // It ended meanwhile.
  }
}

function linkFaults({ tag }: EngineProcess, { containers, networks }: Owners): readonly string[] {
  const bridges = new Set([`brt${tag}`, ...[...networks].map((id) => `brt-${id.slice(0, 8)}`)]);
  const ports = readdirSync("/sys/class/net").filter(
    (name) => /^vb[0-9a-f]{10}$/.test(name) && bridges.has(masterOf(name)),
  );
  const endpoints = containers
    .filter(isRunning)
    .flatMap(({ NetworkSettings }) => Object.keys(NetworkSettings.Networks).filter((name) => name !== "host"));
  return ports.length === endpoints.length
    ? []
    : [`${ports.length} links on the bridges for ${endpoints.length} endpoints`];
}

/** The bridge that a link is on; "" for none. */
function masterOf(link: string): string {
  try {
    return basename(readlinkSync(join("/sys/class/net", link, "master")));
  } catch {
    return ""; // On none, or it went meanwhile.
  }
}

function portFaults({ tag }: EngineProcess, { containers }: Owners): readonly string[] {
  const wanted = new Set(
    containers
      .filter(isRunning)
      .flatMap(({ Ports }) => Ports.flatMap(({ PublicPort, Type }) => (PublicPort ? [`${Type} ${PublicPort}`] : []))),
  );
  const inRules = new Set(publishedInRules(tag));
  const leased = new Set(leases(tag));
  return [
    ...[...inRules.difference(wanted)].map((port) => `nobody owns the rule of port ${port}`),
    ...[...wanted.difference(inRules)].map((port) => `no rule of port ${port}`),
    ...[...leased.difference(wanted)].map((port) => `nobody owns the lease of port ${port}`),
    ...[...wanted.difference(leased)].map((port) => `no lease of port ${port}`),
  ];
}

/** "tcp 80" of every element of the maps. */
function publishedInRules(tag: string): readonly string[] {
  let listing: string;
  try {
    listing = execFileSync("nft", ["-n", "list", "table", "inet", `berth_${tag}`], {
      stdio: ["ignore", "pipe", "ignore"],
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
    });
  } catch {
    return []; // No container runs on a bridge, so there is no table.
  }
  const protocols: Readonly<Record<string, string>> = { "6": "tcp", "17": "udp" };
  return [...listing.matchAll(/(\d+|tcp|udp) \. (\d+) : /g)].map(
    ([, protocol = "", port]) => `${protocols[protocol] ?? protocol} ${port}`,
  );
}

function leases(tag: string): readonly string[] {
  const directory = "/run/berth-ports";
  return namesIn(directory)
    .filter((name) => namesIn(join(directory, name)).some((lease) => lease.endsWith(`@${tag}`)))
    .map((name) => name.replace("-", " "));
}

/** None of a directory that is not there, or goes meanwhile: other engines share it. */
function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
