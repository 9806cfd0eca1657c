import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../base/logger.ts";
import { failpointCatalogue } from "./failpoint-catalogue.ts";
import { parseFailpoints } from "./failpoint-spec.ts";
import { armFailpoints, Failpoints, failpoints } from "./failpoints.ts";
import { rename, rm, rmSync as guardedRmSync } from "./files.ts";
import { pointOf } from "./process/process-failpoint.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "failpoints-"));
});
afterEach(() => {
  failpoints.arm("");
  rmSync(directory, { recursive: true });
});

describe("a specification", () => {
  it("names the point, the hit and the action", () => {
    expect(
      parseFailpoints(" kernel.mount#3=die; process.conmon=fail;*#7=hang\nstate.commit=delay:20;trace=/t;"),
    ).toEqual({
      rules: [
        { name: "kernel.mount", hit: 3, action: { kind: "die" } },
        { name: "process.conmon", hit: undefined, action: { kind: "fail" } },
        { name: "*", hit: 7, action: { kind: "delay", ms: Number.POSITIVE_INFINITY } },
        { name: "state.commit", hit: undefined, action: { kind: "delay", ms: 20 } },
      ],
      trace: "/t",
    });
  });

  it.each([
    ["kernel.mount", "it is not of the form NAME[#K]=ACTION"],
    ["kernel.mnt=die", "there is no failpoint called kernel.mnt"],
    ["kernel.mount#0=die", "the number after # counts from 1"],
    ["kernel.mount#=die", "the number after # counts from 1"],
    ["kernel.mount=explode", "the action is die, fail, hang or delay:MS"],
    ["trace=relative", "trace takes the absolute path of a file"],
  ])("%s is refused: %s", (text, reason) => {
    const error = { code: "FAILPOINT_SPEC_INVALID", message: `BERTH_FAILPOINTS: cannot arm "${text}": ${reason}` };
    expect(() => parseFailpoints(text)).toThrow(expect.objectContaining(error));
  });
});

describe("a failpoint", () => {
  it("fails the hit it is armed for, as the effect would, and only that", async () => {
    const points = new Failpoints();
    points.arm("file.rename#2=fail;*#4=fail");
    await points.before("file.rename", "/a");
    await expect(points.before("file.rename", "/b")).rejects.toMatchObject({ code: "EIO" });
    await points.before("file.rename", "/c");
    const own = new Error("as the kernel says it");
    expect(() => points.beforeSync("state.commit", "db", () => own)).toThrow(own);
    points.arm("file.rename#1=fail"); // Counts begin anew.
    await expect(points.before("file.rename", "/d")).rejects.toThrow("EIO");
  });

  it("holds an effect up", async () => {
    const points = new Failpoints();
    points.arm("file.rename=delay:30");
    const begun = performance.now();
    await points.before("file.rename", "/a");
    points.beforeSync("file.rename", "/a");
    expect(performance.now() - begun).toBeGreaterThan(55);
  });

  it("dies on the spot", async () => {
    const points = new Failpoints();
    points.arm("state.commit=die");
    // The real one does not come back from it; neither does this one.
    const kill = vi.spyOn(process, "kill").mockImplementation(() => {
      throw new Error("killed");
    });
    expect(() => points.beforeSync("state.commit", "db")).toThrow("killed");
    expect(kill).toHaveBeenCalledWith(process.pid, "SIGKILL");
    kill.mockRestore();
  });

  it("stands in front of the effect: what fails has not happened", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "x");
    failpoints.arm(`file.rename=fail;file.remove=fail;trace=${join(directory, "trace")}`);
    await expect(rename(path, `${path}.2`)).rejects.toMatchObject({ code: "EIO", syscall: "rename" });
    await expect(rm(path, { force: true })).rejects.toMatchObject({ code: "EIO" });
    expect(() => guardedRmSync(path, { force: true })).toThrow("EIO");
    expect(readFileSync(path, "utf8")).toBe("x");
    expect(readFileSync(join(directory, "trace"), "utf8").split("\n")).toEqual([
      "armed file.rename file.remove",
      `file.rename ${path} -> ${path}.2`,
      `file.remove ${path}`,
      `file.remove ${path}`,
      "",
    ]);
  });
});

it("is off until it is armed, and again when nothing is", () => {
  armFailpoints(undefined, silentLogger);
  armFailpoints("", silentLogger);
  expect(failpoints.on).toBe(false);
  expect(process.listenerCount("SIGUSR2")).toBe(0);
  failpoints.arm("*=fail");
  expect(failpoints.on).toBe(true);
  failpoints.arm("");
  expect(failpoints.on).toBe(false);
});

it("reads a named file again when it is told to, and keeps to what it has when that makes no sense", () => {
  const path = join(directory, "spec");
  writeFileSync(path, "state.commit=fail\n");
  armFailpoints(`@${path}`, silentLogger);
  const commit = () => failpoints.beforeSync("state.commit", "db");
  expect(commit).toThrow("EIO");
  writeFileSync(path, "nonsense");
  process.emit("SIGUSR2");
  expect(commit).toThrow("EIO");
  writeFileSync(path, "");
  process.emit("SIGUSR2");
  expect(failpoints.on).toBe(false);
  process.removeAllListeners("SIGUSR2");
  expect(() => armFailpoints(`@${directory}/none`, silentLogger)).toThrow("ENOENT");
});

it("names processes by what they do", () => {
  expect(pointOf(["/usr/bin/conmon", "-b", "x"])).toBe("process.conmon");
  expect(pointOf(["conmon", "-e", "--exec-process-spec", "x"])).toBe("process.conmon.exec");
  expect(pointOf(["nsenter", "--mount=/x", "--", "/usr/bin/youki", "--root", "/r", "start", "id"])).toBe(
    "process.runtime.start",
  );
  expect(pointOf(["/usr/sbin/nft", "-f", "-"])).toBe("process.nft");
  expect(pointOf(["ps", "-ef"])).toBe("process.other");
  for (const point of failpointCatalogue.keys()) expect(point).toMatch(/^[a-z]+(\.[a-z-]+)+$/);
});
