import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { background } from "../../base/op-context.ts";
import { FakeHost } from "../../host/fake/fake-host.ts";
import { failpoints } from "../../host/failpoints.ts";
import { isWaitingAtGate, openGate } from "./start-gate.ts";

it("leaves crun's container either at its gate or with its byte, wherever the engine is cut off", async () => {
  const root = mkdtempSync(join(tmpdir(), "berth-gate-"));
  try {
    mkdirSync(join(root, "c1"));
    execFileSync("mkfifo", [join(root, "c1/exec.fifo")]);
    const reader = openSync(join(root, "c1/exec.fifo"), constants.O_RDONLY | constants.O_NONBLOCK);
    const process = { pid: 1, startTime: 1 };
    const runtime = { name: "crun", path: "/crun", root, version: "1" } as const;
    const task = {
      id: "c1",
      dir: root,
      runtime: "crun",
      cgroupPath: "/c1",
      monitor: process,
      init: process,
      tty: false,
      openStdin: false,
      stdinOnce: false,
    } as const;
    failpoints.arm("file.remove=fail");
    await expect(openGate(background(), new FakeHost(), runtime, task)).rejects.toThrow();
    expect(isWaitingAtGate(runtime, "c1")).toBe(true);
    expect(readSync(reader, Buffer.alloc(1), 0, 1, null)).toBe(1);
    closeSync(reader);
  } finally {
    failpoints.arm("");
    rmSync(root, { recursive: true });
  }
});
