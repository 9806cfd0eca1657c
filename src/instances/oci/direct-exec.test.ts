import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { background } from "../../base/op-context.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { bundleFiles } from "./bundle.ts";
import { runDirectly } from "./direct-exec.ts";

/** An exec by a runtime that is spawned and does nothing by itself. */
function open() {
  const execDir = mkdtempSync(join(tmpdir(), "berth-exec-"));
  onTestFinished(() => rmSync(execDir, { recursive: true }));
  const host = new FakeHost();
  host.processes.install("runc");
  const container = host.processes.addRunning();
  const runtime = { name: "runc", path: "/usr/bin/runc", root: "/run/runc", version: "1" };
  const run = () =>
    runDirectly(
      background(),
      { host, runtime, conmon: "conmon", socketDir: "/tmp" },
      {
        id: "c",
        execDir,
        processFile: join(execDir, "process.json"),
        command: "true",
        container: container.identity,
        stdin: false,
      },
    );
  return { host, container, execDir, run };
}

it("says why it can't read the command's pid, instead of waiting for it, and ends the runtime", async () => {
  const { host, execDir, run } = open();
  // As unreadable as a disk that fails.
  host.processes.onSpawn(() => mkdirSync(bundleFiles(execDir, "c").pid));
  await expect(run()).rejects.toThrow(/EISDIR/);
  expect(host.processes.spawned.map(({ signals }) => signals)).toEqual([[9]]);
});

it("waits no longer for a runtime whose container has ended, and ends it", async () => {
  const { host, container, run } = open();
  host.processes.onSpawn(() => container.exit(137));
  await expect(run()).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
  expect(host.processes.spawned.map(({ signals }) => signals)).toEqual([[9]]);
});
