/** Operations on networks and volumes. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { exec, makeContainer, makeRunning } from "./container-operations.ts";
import type { Operation } from "./operation.ts";
import type { ContainerView, World } from "./world.ts";

async function makeNetwork(world: World): Promise<void> {
  await world.call("POST", "/networks/create", { body: { Name: "op-network" } });
}

async function makeVolume(world: World): Promise<void> {
  await world.call("POST", "/volumes/create", { body: { Name: "op-volume", Labels: { op: "" } } });
}

const isThere =
  (path: string, whenThere: "before" | "after"): Operation["state"] =>
  async (world) => {
    const there = (await world.find(path)) !== undefined;
    return there === (whenThere === "after") ? "after" : "before";
  };

/** A network that is there can be used. */
const networkIs =
  (whenThere: "before" | "after"): Operation["state"] =>
  async (world) => {
    if ((await world.find("/networks/op-network")) !== undefined) {
      await makeContainer(world, { HostConfig: { NetworkMode: "op-network" } });
      await world.call("POST", "/containers/op/start");
      if ((await exec(world, "nslookup", "op")) !== 0) throw new Error("the network resolves no names");
      await world.call("DELETE", "/containers/op?force=true");
    }
    return await isThere("/networks/op-network", whenThere)(world);
  };

const isConnected =
  (whenConnected: "before" | "after"): Operation["state"] =>
  async (world) => {
    const { NetworkSettings } = await world.call<ContainerView>("GET", "/containers/op/json");
    const connected = Object.keys(NetworkSettings.Networks).includes("op-network");
    if (connected && (await exec(world, "nslookup", "op")) !== 0) throw new Error("it is connected, but not resolved");
    const links = await exec(world, "test", "-e", "/sys/class/net/eth1");
    if ((links === 0) !== connected) throw new Error(`connected: ${connected}, but its links say otherwise`);
    return connected === (whenConnected === "after") ? "after" : "before";
  };

export const networkOperations: readonly Operation[] = [
  { name: "network-create", prepare: async () => {}, run: makeNetwork, state: networkIs("after") },
  {
    name: "network-rm",
    prepare: makeNetwork,
    run: async (world) => void (await world.call("DELETE", "/networks/op-network")),
    state: networkIs("before"),
  },
  {
    name: "network-connect",
    prepare: async (world) => {
      await makeNetwork(world);
      await makeRunning(world);
    },
    run: async (world) =>
      void (await world.call("POST", "/networks/op-network/connect", { body: { Container: "op" } })),
    state: isConnected("after"),
  },
  {
    name: "network-disconnect",
    prepare: async (world) => {
      await makeNetwork(world);
      await makeRunning(world);
      await world.call("POST", "/networks/op-network/connect", { body: { Container: "op" } });
    },
    run: async (world) =>
      void (await world.call("POST", "/networks/op-network/disconnect", { body: { Container: "op" } })),
    state: isConnected("before"),
  },
];

/** No record without files, no files without a record. */
const volumeIs =
  (whenThere: "before" | "after"): Operation["state"] =>
  async (world) => {
    const there = (await world.find("/volumes/op-volume")) !== undefined;
    const files = existsSync(join(world.engine.dataRoot, "volumes/op-volume/_data"));
    if (there !== files)
      throw new Error(`the volume is ${there ? "" : "not "}known, its files are ${files ? "" : "not "}there`);
    return await isThere("/volumes/op-volume", whenThere)(world);
  };

export const volumeOperations: readonly Operation[] = [
  { name: "volume-create", prepare: async () => {}, run: makeVolume, state: volumeIs("after") },
  {
    name: "volume-rm",
    prepare: makeVolume,
    run: async (world) => void (await world.call("DELETE", "/volumes/op-volume")),
    state: volumeIs("before"),
  },
  {
    name: "volume-prune",
    prepare: makeVolume,
    run: async (world) =>
      void (await world.call("POST", "/volumes/prune", {
        query: { filters: JSON.stringify({ all: ["true"], label: ["op"] }) },
      })),
    state: volumeIs("before"),
  },
];
