/** Operations on images, and builds. */
import { Readable } from "node:stream";
import { makeRunning } from "./container-operations.ts";
import type { Operation } from "./operation.ts";
import { tarOf, type World } from "./world.ts";

/** The image, where there is one, runs `command` with success. */
const imageIs =
  (reference: string, whenThere: "before" | "after", command: readonly string[] = ["true"]): Operation["state"] =>
  async (world) => {
    const there = (await world.find(`/images/${reference}/json`)) !== undefined;
    if (there && command.length > 0) await requireRunning(world, reference, command);
    return there === (whenThere === "after") ? "after" : "before";
  };

async function requireRunning(world: World, reference: string, command: readonly string[]): Promise<void> {
  await world.call("POST", "/containers/create", {
    query: { name: "op-try" },
    body: { Image: reference, Cmd: command, Entrypoint: [], HostConfig: { NetworkMode: "none" } },
  });
  await world.call("POST", "/containers/op-try/start");
  const { StatusCode } = await world.call<{ StatusCode: number }>("POST", "/containers/op-try/wait");
  if (StatusCode !== 0) throw new Error(`${reference} does not run ${command.join(" ")}: ${StatusCode}`);
  await world.call("DELETE", "/containers/op-try");
}

/** Messages come with status 200, errors among them. */
async function stream(world: World, path: string, options: Parameters<World["call"]>[2]): Promise<string> {
  const text = await world.call("POST", path, options);
  const lines = typeof text === "string" ? text : JSON.stringify(text);
  if (lines.includes('"error"')) throw new Error(lines);
  return lines;
}

const dockerfile = `FROM walk:1\nRUN echo one > /one\nCOPY file /two\nCMD ["cat", "/one"]\n`;

export const imageOperations: readonly Operation[] = [
  {
    name: "load",
    prepare: async () => {},
    run: async (world) => void (await stream(world, "/images/load", { body: Readable.from([world.archives[0]]) })),
    state: imageIs("op-image:1", "after"),
  },
  {
    name: "import",
    prepare: async () => {},
    run: async (world) =>
      void (await stream(world, "/images/create?fromSrc=-&repo=op-imported&tag=1", { body: tarOf({ file: "text" }) })),
    state: imageIs("op-imported:1", "after", []),
  },
  {
    name: "pull",
    prepare: async () => {},
    run: async (world) =>
      void (await stream(world, "/images/create", {
        query: { fromImage: `${world.registry.host}/op-pulled`, tag: "1" },
      })),
    state: async (world) => await imageIs(`${world.registry.host}/op-pulled:1`, "after")(world),
  },
  {
    name: "tag",
    prepare: async () => {},
    run: async (world) => void (await world.call("POST", `/images/${world.image}/tag?repo=op-tagged&tag=1`)),
    state: imageIs("op-tagged:1", "after"),
  },
  {
    name: "save",
    prepare: async () => {},
    run: async (world) => {
      const text = String(await world.call("GET", `/images/${world.image}/get`));
      if (!text.includes("manifest.json")) throw new Error("the archive is not whole");
    },
    state: async () => "same",
  },
  {
    name: "image-rm",
    prepare: async (world) => await world.load(world.archives[0]),
    run: async (world) => void (await world.call("DELETE", "/images/op-image:1")),
    state: imageIs("op-image:1", "before"),
  },
  {
    name: "image-prune",
    prepare: async (world) => {
      await world.load(world.archives[0]);
      await world.load(world.archives[1]);
    },
    run: async (world) =>
      void (await world.call("POST", "/images/prune", { query: { filters: JSON.stringify({ dangling: ["true"] }) } })),
    state: async (world) =>
      (await world.inventory()).some((line) => line.startsWith("image sha256:")) ? "before" : "after",
    tidy: async (world) => {
      await world.call("POST", "/images/prune", { query: { filters: JSON.stringify({ dangling: ["true"] }) } });
    },
  },
  {
    name: "commit",
    prepare: async (world) => await makeRunning(world, { Cmd: ["sh", "-c", "echo made > /made; exec sleep 100"] }),
    run: async (world) => void (await world.call("POST", "/commit?container=op&repo=op-committed&tag=1")),
    state: async (world) => {
      const { State } = await world.call<{ State: { Status: string } }>("GET", "/containers/op/json");
      if (State.Status !== "running") throw new Error(`the container that was committed is ${State.Status}`);
      return await imageIs("op-committed:1", "after")(world);
    },
  },
  {
    name: "build",
    prepare: async () => {},
    run: async (world) => {
      const body = tarOf({ Dockerfile: dockerfile, file: "two\n" });
      const lines = await stream(world, "/build?t=op-built:1", { body });
      if (!lines.includes("Successfully built")) throw new Error(lines);
    },
    state: imageIs("op-built:1", "after", ["sh", "-c", "grep one /one && grep two /two"]),
    tidy: async (world) => void (await world.call("POST", "/build/prune?all=true")),
  },
];
