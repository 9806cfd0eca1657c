import { describe, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import { LinePeer } from "./fake/line-peer.ts";
import { runJob } from "./jobs.ts";
import { QmpClient } from "./qmp-client.ts";

const ctx = background();
const change = (status: string, id = "j") => ({ event: "JOB_STATUS_CHANGE", data: { id, status } });

/** A QEMU with one job, which does `does` when it is started and `cancelled` when it is cancelled. */
async function withJob(does: readonly object[], error?: string, cancelled: readonly object[] = []) {
  const job = { id: "j", status: "running", "current-progress": 1, "total-progress": 2, ...(error && { error }) };
  const answers: Readonly<Record<string, readonly object[]>> = {
    begin: [{ return: {} }, ...does],
    "query-jobs": [{ return: [job] }],
    "job-cancel": [{ return: {} }, ...cancelled],
  };
  return await LinePeer.start(({ execute }) => answers[execute] ?? [{ return: {} }], [{ QMP: {} }]);
}

describe("a job of QEMU's", () => {
  it("is waited for, past those of others, and dismissed", async () => {
    await using peer = await withJob([change("concluded", "other"), change("running"), change("concluded")]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    await runJob(ctx, qmp, "begin", { "job-id": "j" }, { what: "it", limitMs: 5000 });
    expect(peer.asked.at(-1)).toBe("job-dismiss");
  });

  it("fails with QEMU's reason", async () => {
    await using peer = await withJob([change("concluded")], "no space");
    using qmp = await QmpClient.connect(ctx, peer.path);
    const running = runJob(ctx, qmp, "begin", { "job-id": "j" }, { what: "the backup", limitMs: 5000 });
    await expect(running).rejects.toThrow("QEMU could not finish the backup: no space");
    expect(peer.asked).toContain("job-dismiss");
  });

  it("is cancelled when it takes too long, and says how far it is until then", async () => {
    await using peer = await withJob([change("running")], undefined, [change("concluded")]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    const seen: number[] = [];
    const options = { what: "it", limitMs: 700, progress: (done: number) => seen.push(done) };
    await expect(runJob(ctx, qmp, "begin", { "job-id": "j" }, options)).rejects.toMatchObject({
      code: "JOB_UNFINISHED",
    });
    expect(seen).toEqual([0.5]);
    expect(peer.asked.slice(-2)).toEqual(["job-cancel", "job-dismiss"]);
  });

  it("ends with QEMU", async () => {
    await using peer = await withJob([]);
    using qmp = await QmpClient.connect(ctx, peer.path);
    const running = runJob(ctx, qmp, "begin", { "job-id": "j" }, { what: "it", limitMs: 5000 });
    running.catch(() => {});
    await expect.poll(() => peer.asked).toContain("begin");
    peer.hangUp();
    await expect(running).rejects.toMatchObject({ code: "JOB_FAILED" });
  });
});
