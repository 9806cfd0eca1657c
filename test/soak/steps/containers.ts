/** A client's named containers: a counter of lines with a web server, made in random shapes and pushed through its life. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Refusal } from "../conditions.ts";
import type { ContainerSpec, SoakClient } from "../soak-client.ts";
import { reasonOf } from "../keeper.ts";
import { commitAndUse, copyBothWays, exportAndImport } from "./files.ts";
import { type ContainerView, look } from "./look.ts";
import { attachFor, execSomething, followLogs, readLogs, writeVolume } from "./talk.ts";

/** Counts lines, serves /etc, and ends with 3 when it is asked to. */
const program = "trap 'exit 3' TERM; httpd -p 80 -h /etc; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.25; done";

export function slotsOf(client: SoakClient): readonly string[] {
  return ["a", "b", "c"].map((slot) => `${client.name}-${slot}`);
}

/** The next thing that can be done with one of the client's containers. */
export async function containerStep(client: SoakClient): Promise<void> {
  const name = client.random.pick(slotsOf(client));
  const key = `container ${name}`;
  const state = client.facts.certain(key) ?? (await look(client, key));
  if (state === "absent") return await create(client, name);
  if (state === "running") {
    // What may end at any moment may have ended by now.
    await client.attempt(client.isUnsteady(name) ? [409] : [], () => useRunning(client, name));
    return;
  }
  if (state === "paused") return await usePaused(client, name);
  if (state === "created" || state.startsWith("stopped:")) return await useStopped(client, name);
  // On its way ("restarting"): it is looked at again.
  await look(client, key);
}

async function create(client: SoakClient, name: string): Promise<void> {
  const { random } = client;
  const spec: ContainerSpec = {
    port: random.chance(0.5) ? client.ports[slotsOf(client).indexOf(name)] : undefined,
    network: random.chance(0.4),
    volume: random.chance(0.4),
    restart: random.weighted([
      [6, "no"],
      [1, "always"],
      [1, "on-failure"],
      [1, "unless-stopped"],
    ]),
    stopSignal: random.chance(0.5) ? "SIGTERM" : "SIGKILL",
    health: random.chance(0.2),
  };
  client.specs.set(name, spec);
  client.onSecondNetwork.delete(name);
  // A new log, whole unless the disk is full already.
  if (client.world.conditions.since(performance.now()).has("disk full")) client.torn.add(name);
  else client.torn.delete(name);
  const network = `${client.name}-n`;
  const volume = `${client.name}-v`;
  if (spec.volume) client.facts.doubt(`volume ${volume}`, "mark:"); // Made when it is not there.
  const hasNetwork = client.facts.certain(`network ${network}`) === "present";
  const { Id } = await client.become(`container ${name}`, ["created"], () =>
    client.call<{ Id: string }>("POST", "/containers/create", {
      query: { name },
      body: {
        Image: client.world.image,
        Cmd: ["sh", "-c", program],
        StopSignal: spec.stopSignal,
        ExposedPorts: { "80/tcp": {} },
        Labels: { soak: client.name },
        ...(random.chance(0.3) ? { Volumes: { "/anonymous": {} } } : {}),
        ...(spec.health ? { Healthcheck: { Test: ["CMD", "true"], Interval: 2_000_000_000 } } : {}),
        HostConfig: {
          ...(spec.port === undefined
            ? {}
            : { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: String(spec.port) }] } }),
          ...(spec.network && hasNetwork ? { NetworkMode: network } : {}),
          ...(spec.volume ? { Binds: [`${volume}:/named`] } : {}),
          ...(random.chance(0.3) ? { Tmpfs: { "/scratch": "size=1m" } } : {}),
          ...(random.chance(0.3) ? { Memory: 64 * 1024 * 1024, PidsLimit: 64, NanoCpus: 500_000_000 } : {}),
          ...(random.chance(0.2) ? { Init: false, ReadonlyRootfs: false, ShmSize: 1024 * 1024 } : {}),
          RestartPolicy: { Name: spec.restart, MaximumRetryCount: spec.restart === "on-failure" ? 3 : 0 },
        },
      },
    }),
  );
  client.expectEvent(`container create ${Id}`);
  if (random.chance(0.85)) await start(client, name);
}

async function start(client: SoakClient, name: string): Promise<void> {
  await change(client, name, "start", ["running"], ["stopped:126", "stopped:127", "stopped:128"]);
}

async function useStopped(client: SoakClient, name: string): Promise<void> {
  const key = `container ${name}`;
  await client.random.weighted<() => Promise<void>>([
    [5, () => start(client, name)],
    [3, () => remove(client, name, false)],
    [1, () => commitAndUse(client, name)],
    [1, () => exportAndImport(client, name)],
    [1, () => copyBothWays(client, name)],
    [1, () => readLogs(client, name)],
    [1, () => rename(client, name)],
    [1, () => startTwice(client, name)],
    [1, async () => void (await look(client, key))],
  ])();
}

async function usePaused(client: SoakClient, name: string): Promise<void> {
  await client.random.weighted<() => Promise<void>>([
    [4, () => change(client, name, "unpause", ["running"])],
    [1, () => remove(client, name, true)],
    [1, () => stop(client, name)],
    [1, async () => void (await look(client, `container ${name}`))],
  ])();
}

async function useRunning(client: SoakClient, name: string): Promise<void> {
  const spec = client.specs.get(name);
  await client.random.weighted<() => Promise<void>>([
    [8, () => execSomething(client, name)],
    [spec?.volume ? 4 : 0, () => writeVolume(client, name)],
    [2, () => readLogs(client, name)],
    [2, () => followLogs(client, name)],
    [1, () => attachFor(client, name)],
    [3, () => stop(client, name)],
    [2, () => restart(client, name)],
    [2, () => kill(client, name)],
    [2, () => change(client, name, "pause", ["paused"])],
    [2, () => remove(client, name, true)],
    [2, () => rename(client, name)],
    [2, () => update(client, name)],
    [2, () => copyBothWays(client, name)],
    [1, () => commitAndUse(client, name)],
    [1, () => exportAndImport(client, name)],
    [2, () => connectAndDisconnect(client, name)],
    [2, () => crowd(client, name)],
    [spec?.port === undefined ? 0 : 2, () => visit(client, name)],
    [2, () => killProcess(client, name, "container")],
    [1, () => killProcess(client, name, "monitor")],
  ])();
}

/** Calls a verb that brings a container into one of `states`. */
async function change(
  client: SoakClient,
  name: string,
  verb: string,
  states: readonly string[],
  between: readonly string[] = [],
  query: Readonly<Record<string, string | number>> = {},
): Promise<void> {
  const key = `container ${name}`;
  const began = performance.now();
  const post = () => client.call("POST", `/containers/${name}/${verb}`, { query });
  const refusals = states.includes("running") ? startRefusals(client, name) : [];
  // What may end at any moment may have ended by now, or be on its way back.
  if (client.isUnsteady(name)) refusals.push(409, /^500 Container \w+ is not paused/);
  if (!(await client.attempt(refusals, () => client.become(key, states, post, between)))) {
    // Without an answer it may have its signal, and the next engine finishes a restart in the background.
    if (verb === "stop" || verb === "restart") client.unsettle(name, verb === "restart" || client.hasPolicy(name));
    return;
  }
  if (states.includes("running")) mayNotLast(client, name, began);
}

/** A monitor that dies as soon as it has done its work, since `began`, takes its container along. */
function mayNotLast(client: SoakClient, name: string, began: number): void {
  if (client.world.conditions.since(began).has("runtime fails")) client.unsettle(name);
}

/** A network is not kept by a container that does not run, in Docker neither: it may have been pruned or removed. */
function startRefusals(client: SoakClient, name: string): Refusal[] {
  const mayLackOne = client.specs.get(name)?.network === true || client.onSecondNetwork.has(name);
  return mayLackOne ? [/^404 network soak\d+-[nm] not found/] : [];
}

const stopped = ["stopped:3", "stopped:137"];

async function stop(client: SoakClient, name: string): Promise<void> {
  await change(client, name, "stop", stopped, [], { t: 3 });
}

async function restart(client: SoakClient, name: string): Promise<void> {
  await change(client, name, "restart", ["running"], [...stopped, "stopped:128"], { t: 3 });
}

async function kill(client: SoakClient, name: string): Promise<void> {
  await endWith(client, name, "stopped:137", async () => {
    await client.call("POST", `/containers/${name}/kill`);
  });
}

/** As something outside of the engine would: the out-of-memory killer, an operator. */
async function killProcess(client: SoakClient, name: string, which: "container" | "monitor"): Promise<void> {
  const found = await client.call<ContainerView>("GET", `/containers/${name}/json`);
  const pid = which === "container" ? found.State.Pid : monitorOf(found.Id);
  if (found.State.Status !== "running" || pid === undefined || pid <= 1) return;
  await endWith(client, name, which === "container" ? "stopped:137" : "stopped:*", async () => {
    client.note(`  SIGKILL to the ${which} of ${name}, process ${pid}`);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended meanwhile.
    }
  });
}

/** Ends it by a signal, whose effect comes after the answer; a policy may start it again. */
async function endWith(client: SoakClient, name: string, state: string, work: () => Promise<void>): Promise<void> {
  const key = `container ${name}`;
  client.facts.doubt(key, state);
  if (client.hasPolicy(name)) client.unsettle(name);
  await work();
  if (client.hasPolicy(name)) return;
  await client.call("POST", `/containers/${name}/wait`, { query: { condition: "not-running" } });
  client.facts.know(key, state);
}

function monitorOf(id: string): number | undefined {
  for (const pid of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const isMonitor = basename(words[0] ?? "") === "conmon" && words[words.indexOf("-c") + 1] === id;
      if (isMonitor && !words.includes("-e")) return Number(pid);
    } catch {
      // It ended meanwhile.
    }
  }
  return undefined;
}

async function remove(client: SoakClient, name: string, force: boolean): Promise<void> {
  const { Id } = await client.call<ContainerView>("GET", `/containers/${name}/json`);
  await client.become(
    `container ${name}`,
    ["absent"],
    () => client.call("DELETE", `/containers/${name}`, { query: { v: true, force } }),
    force ? [...stopped, "removing"] : ["removing"],
  );
  client.expectEvent(`container destroy ${Id}`);
}

async function rename(client: SoakClient, name: string): Promise<void> {
  const post = (from: string, to: string) => client.call("POST", `/containers/${from}/rename`, { query: { name: to } });
  client.facts.doubt(`name ${name}`, "renamed");
  await post(name, `${name}-renamed`);
  await post(`${name}-renamed`, name);
  client.facts.know(`name ${name}`, "absent");
}

async function update(client: SoakClient, name: string): Promise<void> {
  const memory = client.random.between(64, 96) * 1024 * 1024;
  await client.call("POST", `/containers/${name}/update`, { body: { Memory: memory, MemorySwap: memory * 2 } });
  const found = await client.call<{ HostConfig: { Memory: number } }>("GET", `/containers/${name}/json`);
  if (found.HostConfig.Memory !== memory)
    client.complain(`${name} was given ${memory} bytes, but has ${found.HostConfig.Memory}`);
}

async function connectAndDisconnect(client: SoakClient, name: string): Promise<void> {
  const network = `${client.name}-m`;
  if (client.facts.certain(`network ${network}`) !== "present") return;
  client.onSecondNetwork.add(name);
  await client.attempt([403, 404], () =>
    client.call("POST", `/networks/${network}/connect`, { body: { Container: name } }),
  );
  const left = await client.attempt([403, 404, 500], () =>
    client.call("POST", `/networks/${network}/disconnect`, {
      body: { Container: name, Force: client.random.chance(0.3) },
    }),
  );
  if (left) client.onSecondNetwork.delete(name);
}

/** Two at the same time: one of them does it. */
async function startTwice(client: SoakClient, name: string): Promise<void> {
  const began = performance.now();
  const both = () => Promise.all([1, 2].map(() => client.call("POST", `/containers/${name}/start`)));
  const started = await client.attempt(startRefusals(client, name), () =>
    client.become(`container ${name}`, ["running"], both, ["stopped:128"]),
  );
  if (started) mayNotLast(client, name, began);
}

/** Readers beside something that takes the container from under them. */
async function crowd(client: SoakClient, name: string): Promise<void> {
  const refusals = [404, 409];
  const get =
    (path: string, query = {}) =>
    () =>
      client.text("GET", `/containers/${name}/${path}`, { query });
  const end = client.random.pick([
    () => stop(client, name),
    () => restart(client, name),
    () => remove(client, name, true),
  ]);
  await Promise.all([
    end(),
    client.attempt(refusals, get("json")),
    client.attempt(refusals, get("logs", { stdout: true, tail: 5 })),
    client.attempt(refusals, get("stats", { stream: false })),
    client.attempt(refusals, get("top")),
    client.attempt(refusals, () => execSomething(client, name, { ending: true })),
  ]);
}

/** The published port answers. */
export async function visit(client: SoakClient, name: string): Promise<void> {
  const port = client.specs.get(name)?.port;
  if (port === undefined) return;
  const url = `http://127.0.0.1:${port}/passwd`;
  let answer = "";
  for (let tries = 0; tries < 20; tries++) {
    answer = await fetch(url, { signal: AbortSignal.timeout(3000) }).then(
      (response) => (response.ok ? "" : String(response.status)),
      reasonOf,
    );
    if (answer === "") return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  client.complain(`${url} of ${name} does not answer: ${answer}`);
}
