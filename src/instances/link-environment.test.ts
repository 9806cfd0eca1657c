import { describe, expect, it } from "vitest";
import type { InstanceRecord } from "../schema/instance.ts";
import { instanceSpec } from "./fake/instance-spec.ts";
import { withLinkEnvironment } from "./link-environment.ts";

const { network } = instanceSpec([]);
const endpoint = {
  id: "e",
  networkId: "n",
  networkName: "bridge",
  spec: { aliases: [] },
  interfaceName: "eth0",
  hostInterface: "vb0",
  ipv4Cidr: "10.0.0.2/16",
  gateway: "10.0.0.1",
  macAddress: "02:00:00:00:00:01",
  dnsNames: [],
};
const linked: InstanceRecord = {
  id: "1".repeat(64),
  name: "database",
  createdAt: "",
  imageId: "",
  chainId: "",
  spec: instanceSpec([], {
    process: { env: ["PATH=/bin", "USER=me"] },
    network: { ...network, exposedPorts: ["99/udp", "5432/tcp"] },
  }),
  state: {
    status: "running",
    pid: 1,
    exitCode: 0,
    oomKilled: false,
    error: "",
    startedAt: "",
    finishedAt: "",
    restartCount: 0,
    manuallyStopped: false,
    health: null,
    handle: null,
    endpoints: [endpoint],
    ports: [],
  },
};

const environmentWith = (links: string[], own: string[] = []) => {
  const spec = instanceSpec([], {
    process: { env: own },
    network: { ...network, endpoints: { bridge: { aliases: [], links } } },
  });
  return withLinkEnvironment({ name: "me", spec }, { all: () => [linked] }).process.env;
};

describe("withLinkEnvironment", () => {
  it("tells address, ports and variables under the alias", () => {
    expect(environmentWith(["database:my-db"])).toEqual([
      "MY_DB_PORT=tcp://10.0.0.2:5432",
      "MY_DB_PORT_5432_TCP=tcp://10.0.0.2:5432",
      "MY_DB_PORT_5432_TCP_ADDR=10.0.0.2",
      "MY_DB_PORT_5432_TCP_PORT=5432",
      "MY_DB_PORT_5432_TCP_PROTO=tcp",
      "MY_DB_PORT_99_UDP=udp://10.0.0.2:99",
      "MY_DB_PORT_99_UDP_ADDR=10.0.0.2",
      "MY_DB_PORT_99_UDP_PORT=99",
      "MY_DB_PORT_99_UDP_PROTO=udp",
      "MY_DB_NAME=/me/my-db",
      "MY_DB_ENV_USER=me",
    ]);
  });

  it("lets the instance's own variables win, and leaves one without links alone", () => {
    expect(environmentWith(["database:db"], ["DB_NAME=mine"])).toContain("DB_NAME=mine");
    expect(environmentWith([], ["A=1"])).toEqual(["A=1"]);
  });
});
