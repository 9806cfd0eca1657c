/** Network configuration of version 2 (netplan's), as cloud-init takes it on Debian, Ubuntu, Fedora and Alpine. Pure. */

export interface SeedNic {
  readonly mac: string;
  /** "10.0.0.5/24"; none: by DHCP. */
  readonly addresses?: readonly string[];
  /** The routers of a static configuration, one a family at most. */
  readonly gateways?: readonly string[];
  readonly nameservers?: readonly string[];
  readonly search?: readonly string[];
  readonly mtu?: number;
}

/** Cards are found by their MAC and named eth0, eth1, ... in this order. */
export function networkConfig(nics: readonly SeedNic[]): object {
  const ethernets = Object.fromEntries(nics.map((nic, index) => [`eth${index}`, ethernet(nic, `eth${index}`)]));
  return { version: 2, ethernets };
}

function ethernet(nic: SeedNic, name: string): object {
  const { mac, addresses = [], gateways = [], nameservers = [], search = [], mtu } = nic;
  const resolver = nameservers.length + search.length === 0 ? {} : { nameservers: { addresses: nameservers, search } };
  return {
    match: { macaddress: mac.toLowerCase() },
    "set-name": name,
    ...(addresses.length === 0 ? { dhcp4: true } : { addresses, routes: gateways.map(defaultRoute) }),
    ...resolver,
    ...(mtu === undefined ? {} : { mtu }),
  };
}

/** "default" is younger than Debian 12's cloud-init. */
function defaultRoute(via: string): object {
  return { to: via.includes(":") ? "::/0" : "0.0.0.0/0", via };
}
