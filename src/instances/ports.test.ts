import { describe, expect, it } from "vitest";
import type { PortSpec, PublishedPort } from "../schema/network.ts";
import { withoutPorts } from "./ports.ts";

const spec = (containerPort: number, hostPort = 0, more: Partial<PortSpec> = {}): PortSpec => ({
  containerPort,
  protocol: "tcp",
  hostIp: "",
  hostPort,
  ...more,
});
const published = (hostPort: number, containerPort: number, hostIp = "0.0.0.0"): PublishedPort => ({
  containerPort,
  protocol: "tcp",
  hostIp,
  hostPort,
});
const choice = (containerPort: number, more: object = {}) => ({ containerPort, protocol: "tcp" as const, ...more });

describe("ports that are taken away", () => {
  const specs = [
    spec(80),
    spec(80, 8080),
    spec(80, 9000, { hostPortEnd: 9009 }),
    spec(443, 8443, { hostIp: "127.0.0.1" }),
  ];
  const ports = [
    published(8080, 80),
    published(8080, 80, "::"),
    published(9004, 80),
    published(49153, 80),
    published(8443, 443, "127.0.0.1"),
  ];

  it("are all of a port, where only that is named", () => {
    expect(withoutPorts(specs, ports, choice(80))).toEqual({
      rest: [specs[3]],
      ports: expect.arrayContaining(ports.slice(0, 4)),
    });
  });

  it("are those of one host port, on every address that it stands for", () => {
    expect(withoutPorts(specs, ports, choice(80, { hostPort: 8080 }))).toEqual({
      rest: [specs[0], specs[2], specs[3]],
      ports: ports.slice(0, 2),
    });
  });

  it("are found by the host port that the engine chose", () => {
    expect(withoutPorts(specs, ports, choice(80, { hostPort: 49153 }))?.rest).toEqual(specs.slice(1));
    expect(withoutPorts(specs, ports, choice(80, { hostPort: 9004 }))).toEqual({
      rest: [specs[0], specs[1], specs[3]],
      ports: [ports[2]],
    });
  });

  it("are none where the address, the port or the protocol is another", () => {
    expect(withoutPorts(specs, ports, choice(443, { hostIp: "127.0.0.2" }))).toBeUndefined();
    expect(withoutPorts(specs, ports, choice(443, { hostPort: 8444 }))).toBeUndefined();
    expect(withoutPorts(specs, ports, { containerPort: 80, protocol: "udp" })).toBeUndefined();
  });
});
