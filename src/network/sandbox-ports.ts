/** The published ports of sandboxes: taken, led to their containers, changed while those run. */
import type { OpContext } from "../base/op-context.ts";
import { Reverter } from "../base/reverter.ts";
import type { KernelOp } from "../host/kernel-ops.ts";
import type { PortSpec, PublishedPort } from "../schema/network.ts";
import { addressOf } from "./address-book.ts";
import { bridgeOptionsOf } from "./driver-options.ts";
import type { EngineParts } from "./engine-parts.ts";
import { networkErrors } from "./errors.ts";
import { forgetOps, publishOps, unpublishOps } from "./firewall.ts";
import { type StoredSandbox, saveSandbox } from "./network-store.ts";
import { type Attachment, defaultGateway, portTargetOf } from "./sandbox-plan.ts";

export class SandboxPorts {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Takes the host's ports for `specs`, all or none. */
  async allocate(
    { instanceId, instanceName, netnsPath }: StoredSandbox,
    gateway: Attachment | undefined,
    specs: readonly PortSpec[],
  ): Promise<readonly PublishedPort[]> {
    // Nothing can be published without a way in; Docker discards the ports as well.
    if (gateway === undefined || specs.length === 0) return [];
    return await this.#parts.ports.allocate({
      instanceId,
      instanceName,
      endpointId: gateway.endpoint.id,
      netnsPath,
      specs,
      defaultHostIp: bridgeOptionsOf(gateway.network).hostBinding || "0.0.0.0",
      ...portTargetOf(gateway),
    });
  }

  /** What makes the kernel forget where peers of these UDP ports were led. */
  async forgetPeers(ports: readonly PublishedPort[]): Promise<readonly KernelOp[]> {
    if (!ports.some((port) => port.protocol === "udp")) return [];
    const links = await this.#parts.host.kernel.links();
    return forgetOps(
      ports,
      links.flatMap(({ addresses }) => addresses.map(addressOf)),
    );
  }

  /** Publishes further ports; `PORTS_UNREACHABLE` where nothing leads in. Returns the sandbox as it is then. */
  async add(
    ctx: OpContext,
    sandbox: StoredSandbox,
    attachments: readonly Attachment[],
    specs: readonly PortSpec[],
  ): Promise<StoredSandbox> {
    const { tag, host } = this.#parts;
    const gateway = defaultGateway(attachments);
    if (gateway === undefined) throw networkErrors.PORTS_UNREACHABLE({ instance: sandbox.instanceName });
    await using reverter = new Reverter(ctx);
    const ports = await this.allocate(sandbox, gateway, specs);
    reverter.add("ports", async () => this.#parts.ports.release(sandbox.instanceId, ports));
    const more: StoredSandbox = {
      ...sandbox,
      ports: [...sandbox.ports, ...ports],
      request: { ...sandbox.request, ports: [...sandbox.request.ports, ...specs] },
    };
    saveSandbox(this.#parts, more);
    reverter.add("record", async () => saveSandbox(this.#parts, sandbox));
    await host.kernel.apply(ctx, [
      ...hairpinOps(sandbox, more, attachments),
      ...publishOps(tag, ports, portTargetOf(gateway)),
      ...(await this.forgetPeers(ports)),
    ]);
    reverter.commit();
    return more;
  }

  /** Takes `ports` away; `rest` are the specifications of those that stay. Connections that were made through them live on. */
  async remove(
    ctx: OpContext,
    sandbox: StoredSandbox,
    attachments: readonly Attachment[],
    change: { readonly ports: readonly PublishedPort[]; readonly rest: readonly PortSpec[] },
  ): Promise<StoredSandbox> {
    const { tag, host } = this.#parts;
    const gateway = defaultGateway(attachments);
    const less: StoredSandbox = {
      ...sandbox,
      ports: sandbox.ports.filter((port) => !change.ports.some((gone) => isSame(port, gone))),
      request: { ...sandbox.request, ports: [...change.rest] },
    };
    await host.kernel.apply(ctx, [
      ...(gateway === undefined ? [] : unpublishOps(tag, change.ports, portTargetOf(gateway))),
      ...hairpinOps(sandbox, less, attachments),
      ...(await this.forgetPeers(change.ports)),
    ]);
    // Only now: an engine that dies before finds them in the record, and publishes them again.
    saveSandbox(this.#parts, less);
    this.#parts.ports.release(sandbox.instanceId, change.ports);
    return less;
  }
}

/** What a container that reaches its own ports through the host needs, when it gets its first port or loses its last. */
function hairpinOps(
  before: StoredSandbox,
  after: StoredSandbox,
  attachments: readonly Attachment[],
): readonly KernelOp[] {
  const hairpin = after.request.ports.length > 0;
  if (before.request.ports.length > 0 === hairpin) return [];
  return attachments
    .filter(({ network, endpoint }) => network.bridge !== "" && endpoint.hostInterface !== "")
    .map(({ network: { bridge }, endpoint }) => ({ op: "bridge-join", name: endpoint.hostInterface, bridge, hairpin }));
}

function isSame(one: PublishedPort, other: PublishedPort): boolean {
  return (
    one.hostPort === other.hostPort &&
    one.hostIp === other.hostIp &&
    one.protocol === other.protocol &&
    one.containerPort === other.containerPort
  );
}
