/** Where the network room keeps its files, all under the run root: they describe what is gone after a reboot. */
import { join } from "node:path";

export class NetworkPaths {
  readonly #runRoot: string;

  constructor(runRoot: string) {
    this.#runRoot = runRoot;
  }

  get namespaces(): string {
    return join(this.#runRoot, "netns");
  }

  get networks(): string {
    return join(this.#runRoot, "networks");
  }

  get sandboxes(): string {
    return join(this.#runRoot, "sandboxes");
  }

  netns(instanceId: string): string {
    return join(this.namespaces, instanceId);
  }

  /** Names that the network's DNS servers answer, one file an instance. */
  names(networkId: string): string {
    return join(this.networks, networkId, "hosts");
  }

  networkDns(networkId: string): string {
    return join(this.networks, networkId, "dns");
  }

  /** Leases of the machines on the network, one file an instance, and the options that go with them. */
  leases(networkId: string): string {
    return join(this.networks, networkId, "leases");
  }

  leaseOptions(networkId: string): string {
    return join(this.networks, networkId, "lease-options");
  }

  networkDhcp(networkId: string): string {
    return join(this.networks, networkId, "dhcp");
  }

  /** Exists while the bridge of the network is one that the engine made, and so may delete. */
  bridgeMark(networkId: string): string {
    return join(this.networks, networkId, "bridge");
  }

  /** resolv.conf, hosts, hostname of an instance. */
  sandbox(instanceId: string): string {
    return join(this.sandboxes, instanceId);
  }

  /** Aliases of an instance's links, which its own resolver answers. */
  sandboxLinks(instanceId: string): string {
    return join(this.sandboxes, instanceId, "links");
  }

  sandboxDns(instanceId: string): string {
    return join(this.sandboxes, instanceId, "dns");
  }
}
