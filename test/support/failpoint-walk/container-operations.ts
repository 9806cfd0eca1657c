import { existsSync, readFileSync } from "node:fs";
import type { Operation } from "./operation.ts";
import { answers, type ContainerView, pause, tarOf, webServer, type World } from "./world.ts";

export async function makeContainer(world: World, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const body = { ...webServer(world.image, {}), ...more };
  await world.call("POST", "/containers/create", { query: { name: "op" }, body });
}

export async function makeRunning(world: World, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  await makeContainer(world, more);
  await world.call("POST", "/containers/op/start");
}

/** With a network that resolves names, a port, a volume with a name and one without, both filled from the image. */
async function makeRich(world: World): Promise<void> {
  await world.call("POST", "/networks/create", { body: { Name: "op-network" } });
  await createRich(world);
}

async function createRich(world: World): Promise<void> {
  const uses = { port: world.port, network: "op-network", binds: ["op-volume:/var"], volumes: { "/etc": {} } };
  await world.call("POST", "/containers/create", { query: { name: "op" }, body: webServer(world.image, uses) });
}

export async function status(world: World, name = "op"): Promise<string> {
  const found = await world.find<ContainerView>(`/containers/${name}/json`);
  return found?.State.Status ?? "absent";
}

/** Runs a command in the container; its exit code. */
export async function exec(world: World, ...Cmd: readonly string[]): Promise<number> {
  const { Id } = await world.call<{ Id: string }>("POST", "/containers/op/exec", { body: { Cmd, AttachStdout: true } });
  await world.call("POST", `/exec/${Id}/start`, { body: { Detach: false } });
  const { ExitCode } = await world.call<{ ExitCode: number }>("GET", `/exec/${Id}/json`);
  return ExitCode;
}

async function requireWorking(world: World, name: string): Promise<void> {
  if (!(await answers(world.port))) throw new Error("it runs, but its port does not answer");
  if ((await exec(world, "nslookup", name)) !== 0) throw new Error(`it runs, but ${name} does not resolve`);
  if ((await exec(world, "test", "-d", "/var/tmp", "-a", "-f", "/etc/passwd")) !== 0) {
    throw new Error("it runs, but its volumes lack what the image has");
  }
}

/** For an operation between two of these. */
function between(before: string, after: string): Operation["state"] {
  return async (world, mode) => {
    const found = await status(world);
    // As in Docker: marked by a removal that failed, for another one to finish.
    if (mode === "fail" && found === "dead" && after === "absent") return "same";
    if (found === before) return "before";
    if (found === after) return "after";
    throw new Error(`the container is ${found}, not ${before} or ${after}`);
  };
}

const post = (path: string) => async (world: World) => void (await world.call("POST", path));

export const containerOperations: readonly Operation[] = [
  {
    name: "create",
    prepare: async (world) => void (await world.call("POST", "/networks/create", { body: { Name: "op-network" } })),
    run: createRich,
    state: between("absent", "created"),
  },
  {
    name: "start",
    prepare: makeRich,
    run: post("/containers/op/start"),
    state: async (world) => {
      const found = await status(world);
      if (found === "created" || found === "exited") return "before";
      if (found !== "running") throw new Error(`the container is ${found}`);
      await requireWorking(world, "op");
      return "after";
    },
  },
  {
    name: "stop",
    prepare: async (world) => {
      await makeRich(world);
      await world.call("POST", "/containers/op/start");
    },
    run: post("/containers/op/stop?t=1"),
    state: async (world) => {
      if ((await status(world)) !== "running") return await between("running", "exited")(world);
      await requireWorking(world, "op");
      return "before";
    },
  },
  {
    name: "restart",
    prepare: async (world) => {
      await makeRich(world);
      await world.call("POST", "/containers/op/start");
    },
    run: post("/containers/op/restart?t=1"),
    state: async (world, mode) => {
      if (mode === "fail" && (await status(world)) === "exited") return "before";
      for (let tries = 0; tries < 50 && (await status(world)) !== "running"; tries++) await pause(100);
      if ((await status(world)) !== "running") throw new Error(`it ran, and is ${await status(world)} after a restart`);
      await requireWorking(world, "op");
      return "same";
    },
  },
  {
    name: "kill",
    prepare: makeRunning,
    run: async (world) => {
      await world.call("POST", "/containers/op/kill");
      await world.call("POST", "/containers/op/wait");
    },
    state: between("running", "exited"),
  },
  {
    name: "end",
    prepare: async (world) => await makeContainer(world, { Cmd: ["sleep", "0.1"], Volumes: { "/anonymous": {} } }),
    run: async (world) => {
      await world.call("POST", "/containers/op/start");
      await world.call("POST", "/containers/op/wait");
    },
    state: async (world) => {
      for (let tries = 0; tries < 30 && (await status(world)) === "running"; tries++) await pause(100);
      const found = await world.call<ContainerView>("GET", "/containers/op/json");
      const { Status, ExitCode } = found.State;
      if (Status === "created" || (Status === "exited" && ExitCode === 128)) return "before";
      if (Status !== "exited" || ExitCode !== 0) throw new Error(`it ended with 0 and is ${Status} with ${ExitCode}`);
      return "after";
    },
  },
  { name: "pause", prepare: makeRunning, run: post("/containers/op/pause"), state: between("running", "paused") },
  {
    name: "unpause",
    prepare: async (world) => {
      await makeRunning(world);
      await world.call("POST", "/containers/op/pause");
    },
    run: post("/containers/op/unpause"),
    state: between("paused", "running"),
  },
  {
    name: "rename",
    prepare: async (world) => {
      await makeRich(world);
      await world.call("POST", "/containers/op/start");
    },
    run: post("/containers/op/rename?name=op2"),
    state: async (world) => {
      const renamed = (await status(world, "op2")) === "running";
      const [name, other] = renamed ? ["op2", "op"] : ["op", "op2"];
      if ((await status(world, name)) !== "running") throw new Error("it has neither name");
      const found = await execIn(world, name, "nslookup", name);
      const stale = await execIn(world, name, "nslookup", other);
      if (found !== 0) throw new Error(`it is called ${name}, which does not resolve`);
      if (stale === 0) throw new Error(`it is called ${name}, but ${other} still resolves`);
      return renamed ? "after" : "before";
    },
  },
  {
    name: "update",
    prepare: async (world) => await makeRunning(world),
    run: async (world) =>
      void (await world.call("POST", "/containers/op/update", { body: { Memory: 67108864, MemorySwap: 134217728 } })),
    state: async (world) => {
      const { Id, HostConfig } = await world.call<ContainerView>("GET", "/containers/op/json");
      const limit = memoryLimit(world, Id);
      if ((HostConfig.Memory === 67108864) !== (limit === 67108864)) {
        throw new Error(`its limit is told as ${HostConfig.Memory} and is ${limit}`);
      }
      return HostConfig.Memory === 0 ? "before" : "after";
    },
  },
  {
    name: "exec",
    prepare: makeRunning,
    run: async (world) => {
      if ((await exec(world, "sh", "-c", "echo hello > /tmp/greeting")) !== 0) throw new Error("exec failed");
    },
    state: async (world) => {
      if ((await exec(world, "true")) !== 0) throw new Error("no command runs in it any more");
      return "same";
    },
  },
  {
    name: "cp-in",
    prepare: makeContainer,
    run: async (world) =>
      void (await world.call("PUT", "/containers/op/archive?path=/root", { body: tarOf({ copied: "text" }) })),
    state: async (world) =>
      (await world.find("/containers/op/archive?path=/root/copied")) === undefined ? "before" : "after",
  },
  {
    name: "cp-out",
    prepare: makeContainer,
    run: async (world) => {
      if (!String(await world.call("GET", "/containers/op/archive?path=/etc/passwd")).includes("nobody")) {
        throw new Error("the archive is not whole");
      }
    },
    state: async () => "same",
  },
  {
    name: "rm-force-volumes",
    prepare: async (world) => {
      await makeRich(world);
      await world.call("POST", "/containers/op/start");
    },
    run: async (world) => void (await world.call("DELETE", "/containers/op?force=true&v=true")),
    // What it killed can't be brought back to life: the first half of it done is like a kill.
    state: async (world, mode) => {
      const found = await status(world);
      if (mode === "fail" && found === "dead") return "same";
      return found === "absent" ? "after" : "before";
    },
  },
  {
    name: "rm",
    prepare: makeContainer,
    run: async (world) => void (await world.call("DELETE", "/containers/op")),
    state: between("created", "absent"),
  },
  {
    name: "run-rm",
    prepare: async () => {},
    run: async (world) => {
      await makeContainer(world, {
        Cmd: ["true"],
        Volumes: { "/etc": {} },
        HostConfig: { AutoRemove: true, NetworkMode: "bridge" },
      });
      const removed = world.call("POST", "/containers/op/wait?condition=removed");
      await Promise.all([world.call("POST", "/containers/op/start"), removed]);
    },
    state: async (world) => {
      for (let tries = 0; tries < 50 && (await status(world)) !== "absent"; tries++) await pause(100);
      const found = await status(world);
      if (found !== "absent" && found !== "created") throw new Error(`it was to go, and is ${found}`);
      if (found === "created") await world.call("DELETE", "/containers/op?v=true");
      return "same";
    },
  },
  {
    name: "container-prune",
    prepare: makeContainer,
    // Docker's prune goes on when one can't be removed: it tells those that it removed.
    run: async (world) => {
      const path = "/containers/prune";
      const { ContainersDeleted } = await world.call<{ ContainersDeleted: readonly string[] | null }>("POST", path);
      if ((ContainersDeleted ?? []).length === 0) throw new Error("it pruned nothing");
    },
    state: between("created", "absent"),
  },
];

async function execIn(world: World, container: string, ...Cmd: readonly string[]): Promise<number> {
  const { Id } = await world.call<{ Id: string }>("POST", `/containers/${container}/exec`, {
    body: { Cmd, AttachStdout: true },
  });
  await world.call("POST", `/exec/${Id}/start`, { body: { Detach: false } });
  return (await world.call<{ ExitCode: number }>("GET", `/exec/${Id}/json`)).ExitCode;
}

function memoryLimit({ engine }: World, id: string): number {
  const v1 = `/sys/fs/cgroup/memory/berth-${engine.tag}/${id}/memory.limit_in_bytes`;
  const v2 = `/sys/fs/cgroup/berth-${engine.tag}/${id}/memory.max`;
  return Number(readFileSync(existsSync(v1) ? v1 : v2, "utf8"));
}
