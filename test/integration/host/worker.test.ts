import { execFileSync } from "node:child_process";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import { WorkerClient } from "../../../src/host/kernel/worker-client.ts";
import { openHost } from "./linux-host.ts";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-worker-"));
});

afterAll(() => rmSync(directory, { recursive: true }));

it("fails what a dying worker was asked, and starts another", async () => {
  const entry = join(directory, "worker.mjs");
  // Dies of the first call that says so; answers the others.
  writeFileSync(
    entry,
    `import { parentPort } from "node:worker_threads";
     parentPort.on("message", (request) => {
       if (request === undefined) return parentPort.close();
       if (request.args[0] === "die") throw new Error("stuck elsewhere");
       parentPort.postMessage({ id: request.id, value: [request.args[0]] });
     });`,
  );
  const errors: object[] = [];
  const log = { ...silentLogger, error: (fields: object) => errors.push(fields) };
  const client = new WorkerClient(log, pathToFileURL(entry));
  const [first, dying, after] = await Promise.allSettled(["a", "die", "b"].map((word) => client.call("mounts", word)));
  expect(first).toEqual({ status: "fulfilled", value: ["a"] });
  for (const lost of [dying, after]) {
    expect(lost).toMatchObject({ status: "rejected", reason: { code: "KERNEL_WORKER_LOST" } });
  }
  expect(errors).toEqual([{ reason: "stuck elsewhere", pending: 2 }]);
  expect(await client.call("mounts", "c")).toEqual(["c"]);
  await client.close();
  await expect(client.call("mounts", "d")).rejects.toMatchObject({ code: "HOST_CLOSED" });
});

it("survives failed operations", async () => {
  await using host = await openHost();
  const ctx = background();
  for (let i = 0; i < 50; i++) {
    const failing = [
      host.kernel.apply(ctx, [{ op: "mount", source: "x", target: "/no/such", fstype: "tmpfs" }]),
      host.kernel.apply(ctx, [{ op: "netns-create", path: "/proc/no/such" }]),
      host.kernel.links("/no/such"),
      host.kernel.links("/etc/hostname"),
      host.cgroups.usage("/a/../b"),
    ];
    const settled = await Promise.allSettled(failing);
    expect(settled.every(({ status }) => status === "rejected")).toBe(true);
  }
  expect((await host.kernel.links()).some(({ name }) => name === "lo")).toBe(true);
});

it("does what was asked before it closes, and leaves no thread", async () => {
  const host = await openHost();
  const links = host.kernel.links();
  await host.close();
  expect((await links).length).toBeGreaterThan(0);
});

it("lets the process end when nobody closes it, once nothing is under way", () => {
  const source = (name: string) => fileURLToPath(new URL(`../../../src/${name}`, import.meta.url));
  const script = join(directory, "ends.ts");
  writeFileSync(
    script,
    `import { createLinuxHost } from ${JSON.stringify(source("host/linux-host.ts"))};
     import { silentLogger } from ${JSON.stringify(source("base/logger.ts"))};
     const host = await createLinuxHost({ log: silentLogger });
     console.log((await host.kernel.links()).length > 0, (await host.processes.run({ signal: new AbortController().signal, log: silentLogger }, { argv: ["echo", "ran"] })).stdout.trim());`,
  );
  const output = execFileSync(process.execPath, [script], { encoding: "utf8", timeout: 20_000 });
  expect(output.trim()).toBe("true ran");
});
