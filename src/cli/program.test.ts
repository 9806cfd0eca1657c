import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { EngineClient } from "../client/engine-client.ts";
import type { CliContext } from "./command.ts";
import { runProgram } from "./program.ts";
import { commands, groups } from "./registry.ts";

function context(): { readonly ctx: CliContext; readonly printed: () => string } {
  const stdout = new PassThrough();
  const ctx: CliContext = {
    client: new EngineClient("unix:///nonexistent.sock"),
    stdin: new PassThrough(),
    stdout,
    stderr: new PassThrough(),
    environment: {},
    now: () => 0,
    signal: new AbortController().signal,
    setExitCode: () => {},
  };
  return { ctx, printed: () => String(stdout.read() ?? "") };
}

describe("the command table", () => {
  it("has no name twice, and a known group in front of each", () => {
    const names = commands.flatMap(({ path, aliases }) => [path, ...aliases]);
    expect(new Set(names).size).toBe(names.length);
    // "port add" stands beside "port", which shows them.
    const heads = [...groups.map((group) => group.name), "port"];
    for (const name of names.filter((each) => each.includes(" "))) expect(heads).toContain(name.split(" ")[0]);
  });

  it("prints help for every command by every name, with each option's meaning", async () => {
    for (const { path, aliases, load } of commands) {
      const { options } = await load();
      for (const name of [path, ...aliases]) {
        const { ctx, printed } = context();
        await runProgram(ctx, [...name.split(" "), "--help"]);
        const text = printed();
        expect(text).toContain(`Usage: berth ${name}`);
        for (const { description } of Object.values(options)) expect(text).toContain(description);
      }
    }
  });
});

describe("runProgram", () => {
  it.each([
    [["nosuch"], /'nosuch' is not a berth command/],
    [["image", "nosuch"], /'image nosuch' is not a berth command/],
    [["rename", "one"], /'berth rename' takes 2 arguments, not 1/],
    [["stop"], /'berth stop' takes at least 1 argument, not 0/],
    [["volume", "create", "a", "b"], /takes 0 to 1 arguments, not 2/],
  ])("refuses %j", async (words, message) => await expect(runProgram(context().ctx, words)).rejects.toThrow(message));

  it("lists groups and commands without being asked for more", async () => {
    const { ctx, printed } = context();
    await runProgram(ctx, []);
    await runProgram(ctx, ["network"]);
    expect(printed()).toMatch(/Groups:[\s\S]*Usage: berth network COMMAND[\s\S]*disconnect/);
  });
});
