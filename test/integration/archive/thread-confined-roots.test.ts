import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { confinedRootsContract } from "../../../src/archive/confined-roots.contract.ts";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";

const roots = new ThreadConfinedRoots();
afterAll(() => roots[Symbol.asyncDispose]());

confinedRootsContract("ThreadConfinedRoots", () => ({ roots, cleanUp: async () => {} }));

describe("ThreadConfinedRoots", () => {
  it("leaves the root of the engine's thread and of the thread pool alone, also when the worker is its first user", async () => {
    const program = fileURLToPath(new URL("./fresh-process.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program]);
    expect(JSON.parse(stdout)).toEqual({ unpacked: "content", synchronous: true, asynchronous: true });
  });
});
