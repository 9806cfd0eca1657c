import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { GoPipe } from "./conmon-reports.ts";

it("a conmon that died before it was told to go on is no error of its pipe: its reports end", () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-go-"));
  try {
    const fifo = join(directory, "pipe");
    execFileSync("mkfifo", [fifo]);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    using pipe = new GoPipe(openSync(fifo, constants.O_WRONLY));
    pipe.go();
    closeSync(reader);
    expect(() => pipe.go()).not.toThrow();
  } finally {
    rmSync(directory, { recursive: true });
  }
});
