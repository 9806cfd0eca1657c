import { readFileSync, writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { background } from "../../base/op-context.ts";
import { errnoOf } from "../errors.ts";
import type { Host } from "../host.ts";
import { describeHost } from "../host.contract.ts";
import { FakeHost } from "./fake-host.ts";

const ctx = background();

function fake(host: Host): FakeHost {
  if (host instanceof FakeHost) return host;
  throw new Error("not a fake host");
}

describeHost(
  "FakeHost",
  {
    open: async () => {
      const host = new FakeHost();
      host.processes.install("sleep");
      host.cgroups.onKill = (pid) => {
        const identity = host.processes.identify(pid);
        if (identity !== undefined) host.processes.signal(identity, 9);
      };
      return host;
    },
    startSleeper: (host) => host.processes.spawn(ctx, { argv: ["sleep", "1000"], env: {} }),
    join: async (host, group, pid) => void fake(host).cgroups.groups.get(group)?.processes.add(pid),
  },
  "fake01",
);

describe("FakeHost", () => {
  it("fails operations as scripted, and records the others", async () => {
    const { kernel } = new FakeHost();
    const mount = { op: "mount", source: "a", target: "/b" } as const;
    {
      using _failing = kernel.failWhen((op) => (op.op === "mount" ? "EBUSY" : undefined));
      const error = await kernel.apply(ctx, [mount]).catch((thrown: unknown) => thrown);
      expect(errnoOf(error)).toBe("EBUSY");
    }
    await kernel.apply(ctx, [mount]);
    expect(kernel.ops).toEqual([mount]);
  });

  it("answers for programs, and lends the test the child's ends of pipes", async () => {
    const { processes } = new FakeHost();
    processes.script("nft", ({ input }) => ({ code: 1, stderr: `bad: ${String(input)}` }));
    expect(await processes.run(ctx, { argv: ["/usr/sbin/nft"], input: "x" })).toEqual({
      code: 1,
      stdout: "",
      stderr: "bad: x",
    });
    processes.install("conmon");
    processes.onSpawn((process) => {
      writeSync(process.fds.get(3) ?? -1, "ready");
      process.exit(0);
    });
    const child = await processes.spawn(ctx, {
      argv: ["conmon"],
      env: {},
      fds: { 3: { kind: "pipe", parent: "reads" } },
    });
    expect(await child.exited).toEqual({ code: 0, signal: 0 });
    expect(readFileSync(child.pipes[3] ?? -1, "utf8")).toBe("ready");
  });
});
