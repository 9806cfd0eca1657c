import { closeSync, openSync, writeSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { ChildFds } from "../../host/process/child-fds.ts";
import type { OutputFrame } from "../driver.ts";
import { PipedIo } from "./exec-pipes.ts";

/** A command's streams, and the command's ends of them. */
async function open() {
  const fds = await ChildFds.open({ 1: { kind: "pipe", parent: "reads" }, 2: { kind: "pipe", parent: "reads" } });
  const { 1: stdout = -1, 2: stderr = -1 } = fds.release();
  const theirs = fds.sources.get(1) ?? -1;
  const io = new PipedIo({ stdin: undefined, stdout, stderr });
  onTestFinished(() => {
    fds[Symbol.dispose]();
    io.discard();
  });
  return {
    io,
    write: (text: string) => writeSync(theirs, text),
    exit: () => {
      fds[Symbol.dispose]();
      io.ended();
    },
    /** A child of the command, which keeps its stdout. */
    heir: () => openSync(`/proc/self/fd/${theirs}`, "w"),
  };
}

const textOf = (frames: readonly OutputFrame[]) => frames.map(({ data }) => Buffer.from(data).toString()).join("");

describe("PipedIo", () => {
  it("gives a slow client all that was written before the command ended", async () => {
    const { io, write, exit } = await open();
    let written = "";
    for (let line = 0; line < 200; line++) {
      // Each by itself, until the client's share of frames is full and the rest stays in the pipe.
      write(`${line}\n`);
      written += `${line}\n`;
      await sleep(1);
    }
    exit();
    await sleep(500);
    expect(textOf(await io.output.toArray())).toBe(written);
  });

  it("reads what is there after a moment in which the engine was busy", async () => {
    const { io, write, exit } = await open();
    const output = io.output.toArray();
    await sleep(5);
    // From here the event loop goes on with its timers, before it looks at its pipes.
    await nextTurn();
    write("last words\n");
    exit();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    expect(textOf(await output)).toBe("last words\n");
  });

  it("ends soon after the command, though a child of it keeps the pipe, silent or not", async () => {
    const silent = await open();
    const kept = silent.heir();
    silent.write("said\n");
    silent.exit();
    expect(textOf(await silent.io.output.toArray())).toBe("said\n");
    closeSync(kept);

    const talking = await open();
    const end = talking.heir();
    const chatter = setInterval(() => writeSync(end, "more\n"), 20);
    talking.exit();
    const began = performance.now();
    expect(textOf(await talking.io.output.toArray())).toMatch(/^(more\n)+$/);
    expect(performance.now() - began).toBeGreaterThan(1000);
    clearInterval(chatter);
    closeSync(end);
  }, 10_000);
});
