import { describe, expect, it } from "vitest";
import { defineCommand, flag, flagOn, integer, list, text } from "./command.ts";
import { parseWords } from "./parse-words.ts";

const command = defineCommand({
  arguments: "IMAGE [COMMAND] [ARG...]",
  options: {
    rm: flag("Remove"),
    interactive: flag("Stdin", "i"),
    tty: flag("Terminal", "t"),
    noTrunc: flag("Long"),
    name: text("NAME", "Name"),
    env: list("NAME=VALUE", "Environment", "e"),
    publish: list("PORT", "Port", "p"),
    cpuShares: integer("N", "Shares", "c"),
  },
  passThrough: true,
  run: async () => {},
});
const parse = (...words: string[]) => parseWords(command, "run", words);

describe("parseWords", () => {
  it("reads docker's spellings", () => {
    const { words, values } = parse(
      "--rm",
      "-it",
      "--name=web",
      "-eA=1",
      "--env",
      "B=2",
      "-p80:80",
      "-c",
      "512",
      "--no-trunc",
      "busybox",
    );
    expect(words).toEqual(["busybox"]);
    expect(values).toEqual({
      rm: true,
      interactive: true,
      tty: true,
      noTrunc: true,
      name: "web",
      env: ["A=1", "B=2"],
      publish: ["80:80"],
      cpuShares: 512,
    });
  });

  it("turns off a flag that is on", () => {
    const options = { rm: flagOn("Remove"), pull: flag("Pull") };
    const build = defineCommand({ arguments: "", options, run: async () => {} });
    const read = (...words: string[]) => parseWords(build, "build", words).values;
    expect(read()).toEqual({ rm: true, pull: false });
    expect(read("--rm=false", "--pull")).toEqual({ rm: false, pull: true });
  });

  it("leaves what follows the first word alone", () => {
    expect(parse("--rm", "busybox", "ls", "--rm=false", "-l", "--", "x")).toMatchObject({
      words: ["busybox", "ls", "--rm=false", "-l", "--", "x"],
      values: { rm: true },
    });
  });

  it("never takes the next word for a flag's value, but takes one after =", () => {
    expect(parse("--rm", "true").words).toEqual(["true"]);
    expect(parse("--rm=false", "x").values).toMatchObject({ rm: false });
  });

  it("ends options at --", () => expect(parse("--rm", "--", "--name").words).toEqual(["--name"]));

  it.each([
    [["--nosuch"], /unknown flag: --nosuch/],
    [["-z"], /unknown flag: -z/],
    [["--name"], /flag needs an argument: --name/],
    [["--rm=maybe"], /invalid value "maybe" for --rm/],
    [["-c", "many"], /invalid value "many" for --cpu-shares: a whole number/],
  ])("refuses %j", (words, message) => expect(() => parse(...words)).toThrow(message));
});
