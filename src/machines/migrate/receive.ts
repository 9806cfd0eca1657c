/** Machines on their way here: each is made, and waits in its QEMU for disks and memory, until the other engine says that it has all. */
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { BlockList, isIPv4 } from "node:net";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { mkdir, writeFile } from "../../host/files.ts";
import type { InstanceRequest } from "../../instances/instance-service.ts";
import { isIncoming, markIncoming, unmarkIncoming } from "../../instances/machine/incoming-mark.ts";
import { disksDir, files, socketsDir } from "../../instances/machine/layout.ts";
import { arrive, awaitArrival } from "../../qemu/migration.ts";
import type { QmpClient } from "../../qemu/qmp-client.ts";
import { connectUnix } from "../../qemu/unix-socket.ts";
import type { ArrivalReady, ArrivalState, MachineTransfer } from "../../schema/machine-migrate-api.ts";
import type { MachineSpec } from "../../schema/machine.ts";
import type { EndpointSpec } from "../../schema/network.ts";
import { cloudInitFile } from "../create.ts";
import { devicesOf } from "../live/devices-of.ts";
import { isMachine, machinePaths, type MachineParts } from "../parts.ts";
import { migrateErrors } from "./errors.ts";
import type { TransferChannel } from "./peer.ts";
import { socketOf, socketsInJail } from "./sockets.ts";
import { accelerationOf, versionText } from "./transfer.ts";

interface Session {
  readonly name: string;
  readonly qmp: QmpClient;
  readonly dataDir: string;
  /** Once asked for, whoever made the machine come has no say in it any more. */
  finishing: Promise<void> | undefined;
  readonly over: PromiseWithResolvers<void>;
}

const finishMs = 90_000;

export class Arrivals {
  readonly #parts: MachineParts;
  readonly #sessions = new Map<string, Session>();

  constructor(parts: MachineParts) {
    this.#parts = parts;
  }

  /**
   * Makes the machine, says when it is `ready`, and resolves when it runs here. When `ctx` is aborted before {@link finish}, nothing of it
   * stays. `MIGRATION_UNLIKE`, and what a creation and a start are refused for.
   */
  async receive(ctx: OpContext, transfer: MachineTransfer, ready: (ready: ArrivalReady) => void): Promise<void> {
    const parts = this.#parts;
    const { instances } = parts;
    const { machine, name } = transfer.spec;
    if (machine === undefined) throw migrateErrors.MIGRATION_REFUSED({ machine: name, reason: "it is no machine" });
    await using reverter = new Reverter(ctx);
    const { request, notes } = this.#request(transfer, machine);
    const { record } = await instances.create(ctx, {
      ...request,
      furnish: (own, { dataDir }) => furnish(parts, own, transfer, dataDir),
    });
    const { id } = record;
    reverter.add("remove the machine", async (own) => {
      await instances.remove(own, id, { force: true, volumes: true });
    });
    await instances.start(ctx, id);
    using monitor = await parts.monitors.open(ctx, machinePaths(parts, id).qmp);
    const { qmp } = monitor;
    await this.#requireAlike(ctx, qmp, transfer);
    await awaitArrival(ctx, qmp, { ...socketsInJail, nodes: transfer.disks.map(({ node }) => node) });
    const dataDir = join(parts.dataRoot, "instances", id);
    const session: Session = { name, qmp, dataDir, finishing: undefined, over: Promise.withResolvers() };
    this.#sessions.set(id, session);
    const broken = (reason: string) =>
      session.over.reject(migrateErrors.MIGRATION_BROKEN_OFF({ machine: name, reason }));
    const left = () => void (session.finishing ?? broken("the other engine has gone"));
    ctx.signal.addEventListener("abort", left, { once: true });
    void qmp.closed.then(() => broken("its QEMU has ended"));
    session.over.promise.catch(() => {});
    try {
      ready({ id, name: instances.resolve(id).name, notes: [...notes] });
      await session.over.promise;
      reverter.commit();
    } finally {
      ctx.signal.removeEventListener("abort", left);
      this.#sessions.delete(id);
    }
  }

  /** A connection to the QEMU of a machine that waits. */
  async connect(ctx: OpContext, id: string, channel: TransferChannel): Promise<Duplex> {
    this.#session(id);
    const sockets = socketsDir(join(this.#parts.runRoot, "instances", id));
    return await connectUnix(ctx, socketOf(sockets, channel));
  }

  /** Lets it run: all of it is here. Asked again, it is the same answer. */
  async finish(ctx: OpContext, id: string): Promise<void> {
    const session = this.#session(id);
    session.finishing ??= this.#finish(withTimeout(ctx, finishMs), session);
    await session.finishing;
  }

  state(id: string): ArrivalState["state"] {
    const record = this.#parts.instances.list().find((each) => each.id === id);
    if (record === undefined || !isMachine(record)) throw migrateErrors.MIGRATION_NOT_FOUND({ id });
    // Also while what came to nothing is being removed.
    const isRemoved = record.state.status === "removing" || record.state.status === "dead";
    return isRemoved || isIncoming(join(this.#parts.dataRoot, "instances", id)) ? "waits" : "runs";
  }

  async cancel(id: string): Promise<void> {
    const session = this.#session(id);
    if (session.finishing === undefined)
      session.over.reject(migrateErrors.MIGRATION_BROKEN_OFF({ machine: session.name, reason: "it was called off" }));
    await session.over.promise.catch(() => {});
  }

  async #finish(ctx: OpContext, { qmp, dataDir, over }: Session): Promise<void> {
    try {
      await arrive(ctx, qmp);
      await unmarkIncoming(dataDir);
      over.resolve();
    } catch (error) {
      over.reject(error);
      throw error;
    }
  }

  #session(id: string): Session {
    const session = this.#sessions.get(id);
    if (session === undefined) throw migrateErrors.MIGRATION_NOT_FOUND({ id });
    return session;
  }

  async #requireAlike(ctx: OpContext, qmp: QmpClient, transfer: MachineTransfer): Promise<void> {
    const { devices } = await devicesOf(ctx, qmp);
    const here = { qemu: versionText(qmp), acceleration: await accelerationOf(ctx, qmp) };
    const differences = [
      ...(here.qemu === transfer.qemu ? [] : [`its QEMU is ${here.qemu}, not ${transfer.qemu}`]),
      ...(here.acceleration === transfer.acceleration
        ? []
        : [`machines run there with ${here.acceleration}, not ${transfer.acceleration}`]),
      ...transfer.devices.filter((each) => !devices.includes(each)).map((each) => `there is no ${each}`),
      ...devices.filter((each) => !transfer.devices.includes(each)).map((each) => `there is ${each}`),
    ];
    if (differences.length > 0)
      throw migrateErrors.MIGRATION_UNLIKE({ machine: transfer.spec.name, differences: differences.slice(0, 4) });
  }

  /** As it was, on networks and disks of this engine's. */
  #request({ spec, addresses }: MachineTransfer, machine: MachineSpec) {
    const notes: string[] = [];
    const endpoints = Object.entries(spec.network.endpoints).map(
      ([network, endpoint]): readonly [string, EndpointSpec] => {
        const { ipv4Address: _fixed, ...rest } = endpoint;
        const [address = ""] = (addresses[network] ?? "").split("/");
        if (address === "") return [network, rest];
        if (this.#hasRoomFor(network, address)) return [network, { ...rest, ipv4Address: address }];
        notes.push(
          `its address on ${network} was ${address}, which is not to be had there: it keeps it until it asks by DHCP again`,
        );
        return [network, rest];
      },
    );
    const disks = machine.disks.map((disk) => ({
      ...disk,
      file: `${disk.name}.qcow2`,
      format: "qcow2" as const,
      base: "",
    }));
    const request: InstanceRequest = {
      ...spec,
      rootfsChainId: "",
      // What is in a drive is on the other host.
      machine: { ...machine, disks, cdroms: machine.cdroms.map((drive) => ({ ...drive, file: "", source: "" })) },
      // Ports are published once the other engine has let go of them.
      network: { ...spec.network, endpoints: Object.fromEntries(endpoints), ports: [] },
    };
    return { request, notes };
  }

  #hasRoomFor(network: string, address: string): boolean {
    const { networks } = this.#parts;
    const found = networks.resolve(network);
    // The default bridge takes no wishes, as Docker's.
    if (found.builtin) return false;
    const isFree = !networks
      .endpointsOf(found.id)
      .some(({ endpoint }) => endpoint.ipv4Cidr.split("/", 1)[0] === address);
    return isFree && found.spec.ipam.some(({ subnet }) => contains(subnet, address));
  }
}

function contains(cidr: string, address: string): boolean {
  const [base = "", prefix = ""] = cidr.split("/");
  if (!isIPv4(base) || !isIPv4(address)) return false;
  const list = new BlockList();
  list.addSubnet(base, Number(prefix));
  return list.check(address);
}

/** Empty disks for what comes. */
async function furnish(parts: MachineParts, ctx: OpContext, transfer: MachineTransfer, dataDir: string): Promise<void> {
  const directory = disksDir(dataDir);
  await mkdir(directory, { mode: 0o700 });
  await markIncoming(dataDir);
  for (const { node, size } of transfer.disks) {
    const file = node === "uefi-vars" ? files.uefiVariables : `${node}.qcow2`;
    await parts.disks.create(ctx, join(directory, file), { size });
  }
  if (transfer.seed !== undefined) {
    await writeFile(join(directory, files.seed), Buffer.from(transfer.seed, "base64"), { mode: 0o600 });
  }
  if (transfer.cloudInit !== undefined) {
    await writeFile(join(dataDir, cloudInitFile), transfer.cloudInit, { mode: 0o600 });
  }
}
