/** Devices of a running machine, plugged in and out. A device out of a port needs the guest's word that it has let go of it. */
import type { OpContext } from "../base/op-context.ts";
import { isRefusal } from "./command-error.ts";
import { qemuErrors } from "./errors.ts";
import type { JsonObject } from "./json-lines.ts";
import type { QmpClient } from "./qmp-client.ts";
import { listOf, objectOf, stringOf } from "./reply.ts";
import { waitForEvent } from "./wait-for-event.ts";

/** For a guest under emulation to notice and let go; one without an operating system never does. */
const releaseMs = 20_000;

/** Where devices with a port of their own may be put while it runs. `HOT_PLUG_FULL` when all are taken. */
export async function freePort(ctx: OpContext, qmp: QmpClient, ports: readonly string[]): Promise<string> {
  for (const port of ports) {
    const children = await propertiesAt(ctx, qmp, `/machine/peripheral/${port}/${port}`);
    if (children !== undefined && ![...children.keys()].some((name) => name.startsWith("child["))) return port;
  }
  throw qemuErrors.HOT_PLUG_FULL({ ports: ports.length });
}

/** QEMU's driver of each device with a name, by that name. */
export async function namedDevices(ctx: OpContext, qmp: QmpClient): Promise<ReadonlyMap<string, string>> {
  const found = (await propertiesAt(ctx, qmp, "/machine/peripheral")) ?? new Map<string, string>();
  return new Map(
    [...found].flatMap(([name, type]) => {
      const driver = /^child<(.+)>$/.exec(type)?.[1];
      return driver === undefined ? [] : [[name, driver] as const];
    }),
  );
}

/** Asks the guest to let go of a device and waits until it has. `GUEST_KEEPS_DEVICE`; one that is not there is no error. */
export async function unplug(ctx: OpContext, qmp: QmpClient, id: string, limitMs = releaseMs): Promise<void> {
  using events = qmp.events();
  try {
    await qmp.execute(ctx, "device_del", { id });
  } catch (error) {
    if (isRefusal(error, "DeviceNotFound")) return;
    // Asked before, and the guest has not got to it: its answer may still come.
    if (!isRefusal(error) || !/unplug/.test(error.description)) throw error;
  }
  const isEnd = ({ name, data }: { readonly name: string; readonly data: JsonObject }) =>
    data["device"] === id && (name === "DEVICE_DELETED" || name === "DEVICE_UNPLUG_GUEST_ERROR");
  const end = await waitForEvent(ctx, events, isEnd, limitMs);
  if (end?.name !== "DEVICE_DELETED") throw qemuErrors.GUEST_KEEPS_DEVICE({ device: id, seconds: limitMs / 1000 });
}

/** Types of the properties of the object at `path`, by name; undefined when there is none. */
async function propertiesAt(
  ctx: OpContext,
  qmp: QmpClient,
  path: string,
): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    const properties = listOf(await qmp.execute(ctx, "qom-list", { path }), "properties");
    return new Map(
      properties.map((each) => {
        const property = objectOf(each, "a property");
        return [stringOf(property["name"], "name"), stringOf(property["type"], "type")];
      }),
    );
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
