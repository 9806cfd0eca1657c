/** The client of the monitor against QEMU itself: a machine with firmware and nothing to boot. */
import { expect, test } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import { Monitors } from "../../../src/qemu/monitors.ts";
import { QmpClient } from "../../../src/qemu/qmp-client.ts";
import { waitForEvent } from "../../../src/qemu/wait-for-event.ts";
import { RawQemu } from "./raw-qemu.ts";

const ctx = background();

test("a monitor answers, refuses, tells events, serves one client after another, and is gone with QEMU", async () => {
  await using qemu = await RawQemu.start(() => ["-M", "q35", "-m", "16"]);
  using qmp = await QmpClient.connect(ctx, qemu.monitor);
  expect(qmp.version.major).toBeGreaterThanOrEqual(7);
  expect(await qmp.execute(ctx, "query-status")).toMatchObject({ running: true });
  await expect(qmp.execute(ctx, "device_del", { id: "none" })).rejects.toMatchObject({ errorClass: "DeviceNotFound" });
  await expect(qmp.execute(ctx, "no-such-command")).rejects.toMatchObject({ errorClass: "CommandNotFound" });

  using events = qmp.events();
  await Promise.all([qmp.execute(ctx, "stop"), qmp.execute(ctx, "cont")]);
  expect((await waitForEvent(ctx, events, ({ name }) => name === "RESUME", 10_000))?.atMs).toBeGreaterThan(0);

  await expect(QmpClient.connect(ctx, qemu.monitor, 300)).rejects.toMatchObject({ code: "QMP_SILENT" });
  qmp.close();
  using lease = await new Monitors().open(ctx, qemu.monitor);
  expect(await lease.qmp.execute(ctx, "query-name")).toEqual({});
  qemu.kill();
  await lease.qmp.closed;
  await expect(lease.qmp.execute(ctx, "stop")).rejects.toMatchObject({ code: "QMP_LOST" });
});
