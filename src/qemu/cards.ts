/** Network cards of a running machine: the device `<name>` on the back-end `<name>`, which berth-vmm makes of an interface. */
import type { OpContext } from "../base/op-context.ts";
import { isRefusal } from "./command-error.ts";
import { freePort, unplug } from "./devices.ts";
import type { QmpClient } from "./qmp-client.ts";

export interface CardPlug {
  readonly name: string;
  readonly model: "virtio" | "e1000e";
  readonly mac: string;
}

/** Plugs a card in, whose back-end is there. */
export async function plugCard(
  ctx: OpContext,
  qmp: QmpClient,
  { name, model, mac }: CardPlug,
  ports: readonly string[],
): Promise<void> {
  const driver = model === "virtio" ? "virtio-net-pci" : "e1000e";
  const bus = await freePort(ctx, qmp, ports);
  await qmp.execute(ctx, "device_add", { driver, bus, id: name, netdev: name, mac, romfile: "" });
}

/** Takes a card out, once the guest has let go of it, and closes its back-end. */
export async function unplugCard(ctx: OpContext, qmp: QmpClient, name: string): Promise<void> {
  await unplug(ctx, qmp, name);
  try {
    await qmp.execute(ctx, "netdev_del", { id: name });
  } catch (error) {
    if (!isRefusal(error)) throw error; // It had none.
  }
}
