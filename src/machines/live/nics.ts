/** Network cards that come and go, while the machine runs where the guest can. */
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { plugCard, unplugCard } from "../../qemu/cards.ts";
import { namedDevices } from "../../qemu/devices.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import type { MachineNic } from "../../schema/machine.ts";
import type { AttachNicBody } from "../../schema/machine-live-api.ts";
import { endpointOf } from "../hardware.ts";
import { type MachineParts, machinePaths, resolveMachine } from "../parts.ts";
import { changeMachine, type Changing, hotPorts, recordAndDo, requireFreeName } from "./changing.ts";
import { liveErrors } from "./errors.ts";
import { joinCard } from "./join-card.ts";
import { isRunning, openMonitor } from "./monitor.ts";

export async function attachNic(
  parts: MachineParts,
  ctx: OpContext,
  nameOrId: string,
  body: AttachNicBody,
): Promise<MachineNic> {
  const { id } = resolveMachine(parts, nameOrId);
  const network = parts.networks.resolve(body.network).spec.name;
  await using reverter = new Reverter(ctx);
  const nic = await changeMachine(parts, ctx, id, async (at) => newNic(at, network, body));
  // The connection takes the machine's lock itself.
  await parts.instances.connectCard(ctx, id, network, endpointOf({ ...body, network }));
  reverter.add("connection", (undo) => parts.instances.disconnectCard(undo, id, network));
  await changeMachine(parts, ctx, id, async (at) => {
    const { record, machine } = at;
    requireFreeName(at, nic.name);
    using monitor = isRunning(record) ? await openMonitor(parts, ctx, record) : undefined;
    await recordAndDo(ctx, at, { ...machine, nics: [...machine.nics, nic] }, async () => {
      if (monitor !== undefined) await plugIn(parts, ctx, at, monitor.qmp, nic);
    });
  });
  reverter.commit();
  return nic;
}

/** A card whose network is gone stays without a cable, as at a start. */
async function plugIn(
  parts: MachineParts,
  ctx: OpContext,
  at: Changing,
  qmp: QmpClient,
  { name, model, network }: MachineNic,
): Promise<void> {
  const { id, state } = at.record;
  const endpoint = state.endpoints.find(({ networkName }) => networkName === network);
  if (endpoint === undefined) return;
  if (model !== "virtio" && model !== "e1000e") throw notHot(at, model);
  await joinCard(ctx, machinePaths(parts, id).vmm, endpoint.interfaceName, name);
  try {
    await plugCard(ctx, qmp, { name, model, mac: endpoint.macAddress }, hotPorts);
  } catch (error) {
    await unplugCard(ctx, qmp, name);
    throw error;
  }
}

export async function detachNic(parts: MachineParts, ctx: OpContext, nameOrId: string, name: string): Promise<void> {
  const { id } = resolveMachine(parts, nameOrId);
  const network = await changeMachine(parts, ctx, id, async (at) => {
    const { record, machine } = at;
    const nic = machine.nics.find((each) => each.name === name);
    if (nic === undefined) {
      throw liveErrors.DEVICE_NOT_FOUND({ what: "network card", device: name, machine: record.name });
    }
    if (isRunning(record)) {
      if (nic.model !== "virtio" && nic.model !== "e1000e") throw notHot(at, nic.model);
      using monitor = await openMonitor(parts, ctx, record);
      await unplugCard(ctx, monitor.qmp, name);
    }
    const nics = machine.nics.filter((each) => each !== nic);
    const boot = machine.boot.filter((each) => each !== name);
    at.held.update((spec) => ({ ...spec, machine: { ...machine, nics, boot } }));
    return nic.network;
  });
  await parts.instances.disconnectCard(ctx, id, network);
}

/**
 * At the engine's start: a card that was recorded is plugged in where its machine runs without, and a connection that no card is for ends: the
 * card was not recorded yet, or not any more.
 */
export async function mendNics(parts: MachineParts, ctx: OpContext, id: string): Promise<void> {
  const { spec } = resolveMachine(parts, id);
  const networks = new Set(spec.machine.nics.map(({ network }) => network));
  for (const network of Object.keys(spec.network.endpoints)) {
    if (!networks.has(network)) await parts.instances.disconnectCard(ctx, id, network);
  }
  await changeMachine(parts, ctx, id, async (at) => {
    if (at.record.state.status !== "running") return;
    using monitor = await openMonitor(parts, ctx, at.record);
    const devices = await namedDevices(ctx, monitor.qmp);
    for (const nic of at.machine.nics) if (!devices.has(nic.name)) await plugIn(parts, ctx, at, monitor.qmp, nic);
  });
}

/** Refuses beforehand what is known to be wrong. */
function newNic(at: Changing, network: string, body: AttachNicBody): MachineNic {
  const { record, machine } = at;
  if (machine.nics.some((nic) => nic.network === network)) {
    throw liveErrors.NETWORK_HAS_CARD({ network, machine: record.name });
  }
  const model = body.model ?? machine.nics[0]?.model ?? "virtio";
  if (isRunning(record) && model !== "virtio" && model !== "e1000e") throw notHot(at, model);
  const taken = new Set(machine.nics.map(({ name }) => name));
  let nth = 0;
  while (taken.has(`net${nth}`)) nth++;
  const name = body.name ?? `net${nth}`;
  requireFreeName(at, name);
  return { name, network, model };
}

function notHot({ record }: Changing, model: string) {
  return liveErrors.BUS_NOT_HOT({ what: `a card of the model ${model}`, machine: record.name });
}
