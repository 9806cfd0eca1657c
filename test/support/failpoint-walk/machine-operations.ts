/** The same verbs on a virtual machine: slow, as each step boots some, so that they are walked only when asked for. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { exec, makeContainer, status } from "./container-operations.ts";
import type { Operation } from "./operation.ts";
import { type ContainerView, pause, tarOf, type World } from "./world.ts";

async function makeMachine(world: World, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const { HostConfig, ...rest } = more;
  const host = { Runtime: "vm", NetworkMode: "bridge", Memory: 134217728, ...(isObject(HostConfig) ? HostConfig : {}) };
  await makeContainer(world, { Cmd: ["sleep", "1000"], ...rest, HostConfig: host });
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

async function makeRunning(world: World): Promise<void> {
  await makeMachine(world, { Cmd: ["sh", "-c", "echo made > /made; exec sleep 1000"] });
  await world.call("POST", "/containers/op/start");
}

/** What is told as running does run: it may have been found in the middle of its boot. */
async function requireAnswer(world: World): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      if ((await exec(world, "true")) !== 0) throw new Error("no command runs in it");
      return;
    } catch (error) {
      if (tries === 150) throw error;
      await pause(200);
    }
  }
}

/** Of an operation that ends it, or starts it. */
function between(before: string, after: string): Operation["state"] {
  return async (world, mode) => {
    const found = await status(world);
    if (mode === "fail" && found === "dead" && after === "absent") return "same";
    if (found === "running") await requireAnswer(world);
    if (found === before) return "before";
    if (found === after) return "after";
    throw new Error(`the machine is ${found}, not ${before} or ${after}`);
  };
}

/** A machine that is made for a stopped one's files is kept for some seconds. */
async function untilAlone(world: World): Promise<void> {
  const { Id } = await world.call<ContainerView>("GET", "/containers/op/json");
  const directory = join(world.engine.runRoot, "instances", Id);
  for (let tries = 0; existsSync(directory); tries++) {
    if (tries === 150) throw new Error("the machine that was made for its files is still there");
    await pause(200);
  }
}

async function makeRunningWithNetwork(world: World): Promise<void> {
  await world.call("POST", "/networks/create", { body: { Name: "op-network" } });
  await makeRunning(world);
}

const connection = (verb: "connect" | "disconnect") => async (world: World) =>
  void (await world.call("POST", `/networks/op-network/${verb}`, { body: { Container: "op" } }));

/** What the engine tells is what the guest has. */
const isConnected =
  (whenConnected: "before" | "after"): Operation["state"] =>
  async (world) => {
    await requireAnswer(world);
    const { NetworkSettings } = await world.call<ContainerView>("GET", "/containers/op/json");
    const connected = Object.keys(NetworkSettings.Networks).includes("op-network");
    const hasCard = (await exec(world, "test", "-e", "/sys/class/net/eth1")) === 0;
    if (hasCard !== connected) throw new Error(`connected: ${connected}, but its links say otherwise`);
    const found = await exec(world, "nslookup", "op");
    if ((found === 0) !== connected) throw new Error(`connected: ${connected}, but its name says otherwise`);
    if ((await exec(world, "test", "-e", "/sys/class/net/eth0")) !== 0)
      throw new Error("it has lost its first network");
    return connected === (whenConnected === "after") ? "after" : "before";
  };

export const machineOperations: readonly Operation[] = [
  {
    name: "vm-start",
    prepare: makeMachine,
    run: async (world) => void (await world.call("POST", "/containers/op/start")),
    state: between("created", "running"),
  },
  {
    name: "vm-stop",
    prepare: makeRunning,
    run: async (world) => void (await world.call("POST", "/containers/op/stop?t=1")),
    state: between("running", "exited"),
  },
  {
    name: "vm-rm-force",
    prepare: makeRunning,
    run: async (world) => void (await world.call("DELETE", "/containers/op?force=true")),
    // What it killed can't be brought back to life: the first half of it done is like a kill.
    state: async (world, mode) => {
      const found = await status(world);
      if (mode === "fail" && found === "dead") return "same";
      return found === "absent" ? "after" : "before";
    },
  },
  {
    name: "vm-run-rm",
    prepare: async () => {},
    run: async (world) => {
      await makeMachine(world, { Cmd: ["true"], HostConfig: { AutoRemove: true } });
      const removed = world.call("POST", "/containers/op/wait?condition=removed");
      await Promise.all([world.call("POST", "/containers/op/start"), removed]);
    },
    state: async (world) => {
      for (let tries = 0; tries < 150 && (await status(world)) !== "absent"; tries++) await pause(200);
      const found = await status(world);
      if (found !== "absent" && found !== "created") throw new Error(`it was to go, and is ${found}`);
      if (found === "created") await world.call("DELETE", "/containers/op?v=true");
      return "same";
    },
  },
  {
    name: "vm-network-connect",
    prepare: makeRunningWithNetwork,
    run: connection("connect"),
    state: isConnected("after"),
  },
  {
    name: "vm-network-disconnect",
    prepare: async (world) => {
      await makeRunningWithNetwork(world);
      await connection("connect")(world);
    },
    run: connection("disconnect"),
    state: isConnected("before"),
  },
  {
    name: "vm-commit",
    prepare: makeRunning,
    run: async (world) => void (await world.call("POST", "/commit?container=op&repo=op-committed&tag=1")),
    state: async (world) => {
      const found = await status(world);
      if (found !== "running") throw new Error(`the machine that was committed is ${found}`);
      await requireAnswer(world);
      return (await world.find("/images/op-committed:1/json")) === undefined ? "before" : "after";
    },
  },
  {
    name: "vm-cp-stopped",
    prepare: makeMachine,
    run: async (world) =>
      void (await world.call("PUT", "/containers/op/archive?path=/root", { body: tarOf({ copied: "text" }) })),
    state: async (world) => {
      const copied = await world.find("/containers/op/archive?path=/root/copied");
      await untilAlone(world);
      return copied === undefined ? "before" : "after";
    },
  },
];
