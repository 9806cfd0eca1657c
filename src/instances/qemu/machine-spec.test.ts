import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { unlimited } from "../../schema/resources.ts";
import { instanceSpec } from "../fake/instance-spec.ts";
import { prepareRequest } from "../fake/prepare-request.ts";
import { machineSpec, networkFields } from "./machine-spec.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-spec-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

it("says all that the guest has to know of the instance", async () => {
  const hosts = join(dir, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost\n");
  const spec = instanceSpec(["serve"], {
    resources: { ...unlimited, memory: 128 * 1024 * 1024, nanoCpus: 2e9 },
    domainname: "example.org",
    sysctls: { "net.core.somaxconn": "9" },
    security: { readonlyRootfs: true },
  });
  const request = {
    ...prepareRequest("i", spec, dir),
    hostname: "web",
    interfaces: ["eth0", "eth1"],
    mounts: [
      { type: "bind", source: hosts, target: "/etc/hosts", options: ["bind"] },
      { type: "tmpfs", source: "tmpfs", target: "/cache", options: ["size=1m", "exec"] },
    ] as const,
  };
  const acceleration = { kind: "tcg", reason: "" } as const;
  const fields = await machineSpec(request, { acceleration, hostCpus: 4, shareDaemon: [] });
  expect(fields).toEqual(
    expect.arrayContaining([
      ["accel", "tcg"],
      ["memory", "192"],
      ["run.memory", String(128 * 1024 * 1024)],
      ["cpus", "2"],
      ["net", "eth0"],
      ["net", "eth1"],
      ["mount.readonly", "1"],
      ["mount.shm", String(64 * 1024 * 1024)],
      ["configure.hostname", "web"],
      ["configure.domainname", "example.org"],
      ["configure.file", "/etc/hosts\n127.0.0.1 localhost\n"],
      ["configure.tmpfs", "/cache\nnosuid,nodev,size=1m,exec"],
      ["configure.sysctl", "net.core.somaxconn=9"],
      ["run.arg", "serve"],
    ]),
  );
});

it("has its mounts in their order, and files of the network only where it has none of its own", async () => {
  const hosts = join(dir, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost\n");
  const own = { type: "bind", source: hosts, target: "/etc/hostname", readOnly: false, createSource: false } as const;
  const request = {
    ...prepareRequest("i", instanceSpec(["true"], { mounts: [{ ...own, propagation: "rprivate" }] }), dir),
    mounts: [
      { type: "bind", source: dir, target: "/data", options: ["rbind", "rw"] },
      { type: "tmpfs", source: "tmpfs", target: "/data/tmp", options: [] },
      { type: "bind", source: hosts, target: "/etc/hosts", options: ["bind"] },
      { type: "bind", source: hosts, target: "/etc/hostname", options: ["bind", "ro"] },
    ] as const,
  };
  const acceleration = { kind: "tcg", reason: "" } as const;
  const fields = await machineSpec(request, { acceleration, hostCpus: 1, shareDaemon: ["/usr/virtiofsd", "-f"] });
  const of = (...names: string[]) => fields.filter(([name]) => names.includes(name));
  expect(of("configure.share", "configure.tmpfs").map(([, value]) => value)).toEqual([
    "0\n/data\nrbind,rw",
    "/data/tmp\nnoexec,nosuid,nodev",
    "1\n/etc/hostname\nbind,ro",
  ]);
  expect(of("configure.file")).toEqual([["configure.file", "/etc/hosts\n127.0.0.1 localhost\n"]]);
  expect(of("shares")).toEqual([
    ["shares", "/usr/virtiofsd"],
    ["shares", "-f"],
  ]);
});

it("waits for the host's disk only where the instance outlives its run", async () => {
  const acceleration = { kind: "kvm", reason: "" } as const;
  const fieldsOf = async (autoRemove: boolean) => {
    const request = prepareRequest("i", instanceSpec(["true"], { autoRemove }), dir);
    return await machineSpec(request, { acceleration, hostCpus: 1, shareDaemon: [] });
  };
  expect((await fieldsOf(false)).map(([name]) => name)).not.toContain("scratch.cache");
  expect(await fieldsOf(true)).toContainEqual(["scratch.cache", "unsafe"]);
  expect(await fieldsOf(true)).toContainEqual(["accel", "kvm"]);
});

it("refuses an environment that the agent can't take in one piece", async () => {
  const request = prepareRequest(
    "i",
    instanceSpec(["true"], { process: { env: [`A=${"x".repeat(64 * 1024)}`] } }),
    dir,
  );
  const acceleration = { kind: "tcg", reason: "" } as const;
  await expect(machineSpec(request, { acceleration, hostCpus: 1, shareDaemon: [] })).rejects.toMatchObject({
    code: "MACHINE_UNSUPPORTED",
  });
});

it("has a card to spare, but none where it is to have no network, or rests", async () => {
  const spareOf = async (mode: string, more: { readonly resting?: boolean } = {}) => {
    const spec = instanceSpec(["serve"]);
    const request = prepareRequest("i", { ...spec, network: { ...spec.network, mode } }, dir);
    const acceleration = { kind: "tcg", reason: "" } as const;
    const fields = await machineSpec({ ...request, ...more }, { acceleration, hostCpus: 4, shareDaemon: [] });
    return fields.find(([name]) => name === "spare")?.[1];
  };
  expect(await spareOf("bridge")).toBe("1");
  expect(await spareOf("none")).toBeUndefined();
  expect(await spareOf("bridge", { resting: true })).toBeUndefined();
});

const endpoint = {
  id: "e",
  networkId: "n",
  networkName: "app",
  spec: { aliases: [] },
  interfaceName: "eth0",
  hostInterface: "vb0",
  ipv4Cidr: "172.18.0.2/16",
  gateway: "172.18.0.1",
  macAddress: "02:42:ac:12:00:02",
  dnsNames: [],
};

it("says what the guest's networks are from now on, and that it needs no name server any more", async () => {
  const file = join(dir, "resolv.conf");
  const told = async (text: string) => {
    writeFileSync(file, text);
    const request = prepareRequest("i", instanceSpec(["serve"]), dir);
    const mounts = [{ type: "bind", source: file, target: "/etc/resolv.conf", options: [] }] as const;
    const endpoints = [
      { ...endpoint, nameServer: "172.18.0.1" },
      { ...endpoint, nameServer: "172.19.0.1" },
    ];
    return await networkFields({ spec: request.spec, mounts, interfaces: ["eth0", "eth1"], endpoints });
  };
  expect(await told("# own\nnameserver 127.0.0.11\n")).toEqual([
    ["verb", "cards"],
    ["net", "eth0"],
    ["net", "eth1"],
    ["resolver", "172.18.0.1 172.19.0.1"],
    ["file", "/etc/resolv.conf\n# own\nnameserver 127.0.0.11\n"],
  ]);
  expect(await told("nameserver 172.18.0.1\n")).toContainEqual(["resolver", ""]);
});
