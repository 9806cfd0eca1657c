import { describe, expect, it } from "vitest";
import type { Field } from "../../guest/frames.ts";
import type { ExecRequest } from "../driver.ts";
import { instanceSpec, type SpecOverrides } from "../fake/instance-spec.ts";
import { prepareRequest } from "../fake/prepare-request.ts";
import { execFields, inheritedFields, mainProcessFields } from "./process-fields.ts";

const request = (overrides: SpecOverrides = {}) => ({
  ...prepareRequest("0123456789abcdef", instanceSpec(["sh", "-c", "true"], overrides), "/run/i"),
  terminal: { rows: 30, columns: 90 },
});
const all = (fields: readonly Field[], name: string) => fields.flatMap(([of, value]) => (of === name ? [value] : []));

describe("the main process", () => {
  it("has its words, its environment without a HOME of ours, and Docker's capabilities", () => {
    const fields = mainProcessFields(request({ process: { env: ["A=1", "PATH=/own"] } }));
    expect(all(fields, "arg")).toEqual(["sh", "-c", "true"]);
    expect(all(fields, "env")).toEqual(["PATH=/own", "HOSTNAME=0123456789ab", "A=1"]);
    expect(all(fields, "capabilities")).toEqual(["a80425fb"]);
    expect(all(fields, "tty")).toEqual([]);
    expect(all(fields, "masked")).toContain("/proc/kcore");
  });

  it("keeps a HOME that was stated, also an empty one", () => {
    expect(all(mainProcessFields(request({ process: { env: ["HOME="] } })), "env")).toContain("HOME=");
  });

  it("has a terminal of the client's size, and what was asked for of its walls", () => {
    const fields = mainProcessFields(
      request({
        process: { tty: true, openStdin: true, user: "web:www", groupAdd: ["7"], workingDir: "/srv" },
        security: { privileged: true, noNewPrivileges: true },
        ulimits: [{ name: "nofile", soft: 1, hard: 2 }],
        oomScoreAdj: 5,
      }),
    );
    expect(fields).toEqual(
      expect.arrayContaining([
        ["tty", "1"],
        ["stdin", "1"],
        ["rows", "30"],
        ["columns", "90"],
        ["user", "web:www"],
        ["group", "7"],
        ["cwd", "/srv"],
        ["nonewprivileges", "1"],
        ["rlimit", "nofile 1 2"],
        ["oom", "5"],
        ["capabilities", "1ffffffffff"],
      ]),
    );
    expect(all(fields, "masked")).toEqual([]);
  });
});

describe("a command beside it", () => {
  const exec = (overrides: Partial<ExecRequest> = {}): ExecRequest => ({
    execId: "e",
    argv: ["ls", "-l"],
    env: ["A=1"],
    user: "",
    groupAdd: [],
    workingDir: "",
    tty: false,
    stdin: false,
    privileged: false,
    detached: false,
    ...overrides,
  });
  const inherited = inheritedFields(
    request({ process: { user: "web", workingDir: "/srv" }, ulimits: [{ name: "core", soft: 0, hard: 0 }] }),
  );

  it("is as the main one is, where it does not say otherwise", () => {
    const fields = execFields(exec(), inherited);
    expect(all(fields, "verb")).toEqual(["exec"]);
    expect(all(fields, "arg")).toEqual(["ls", "-l"]);
    expect(all(fields, "user")).toEqual(["web"]);
    expect(all(fields, "cwd")).toEqual(["/srv"]);
    expect(all(fields, "rlimit")).toEqual(["core 0 0"]);
    expect(all(fields, "capabilities")).toEqual(["a80425fb"]);
    expect(all(fields, "hostname")).toEqual([]);
    expect(all(fields, "env")).toContain("HOSTNAME=0123456789ab");
  });

  it("says otherwise", () => {
    const fields = execFields(
      exec({ user: "root", workingDir: "/", privileged: true, detached: true, stdin: true, groupAdd: ["9"] }),
      inherited,
    );
    expect(fields).toEqual(
      expect.arrayContaining([
        ["user", "root"],
        ["cwd", "/"],
        ["detach", "1"],
        ["stdin", "1"],
        ["group", "9"],
        ["capabilities", "1ffffffffff"],
      ]),
    );
    expect(all(fields, "user")).toEqual(["root"]);
    expect(all(fields, "capabilities")).toHaveLength(1);
  });
});
