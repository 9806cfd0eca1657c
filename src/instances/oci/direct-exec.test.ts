import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { background } from "../../base/op-context.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { bundleFiles } from "./bundle.ts";
import { runDirectly } from "./direct-exec.ts";

it("says why it can't read the command's pid, instead of waiting for it, and ends the runtime", async () => {
  const execDir = mkdtempSync(join(tmpdir(), "berth-exec-"));
  onTestFinished(() => rmSync(execDir, { recursive: true }));
  const host = new FakeHost();
  host.processes.install("runc");
  // As unreadable as a disk that fails.
  host.processes.onSpawn(() => mkdirSync(bundleFiles(execDir, "c").pid));
  const runtime = { name: "runc", path: "/usr/bin/runc", root: "/run/runc", version: "1" };
  const exec = { id: "c", execDir, processFile: join(execDir, "process.json"), command: "true", stdin: false };
  const running = runDirectly(background(), { host, runtime, conmon: "conmon", socketDir: "/tmp" }, exec);
  await expect(running).rejects.toThrow(/EISDIR/);
  expect(host.processes.spawned.map(({ signals }) => signals)).toEqual([[9]]);
});
