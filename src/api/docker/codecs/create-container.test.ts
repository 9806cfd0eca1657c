import { beforeEach, describe, expect, it } from "vitest";
import { background } from "../../../base/op-context.ts";
import type { CreateContainerBody } from "../../../schema/docker/container.ts";
import { type FakeBackend, fakeBackend } from "../fake/fake-backend.ts";
import { instanceRequest } from "./create-container.ts";

let backend: FakeBackend;
const decode = (body: CreateContainerBody, name = "") => instanceRequest(body, { name, platform: "" }, backend);

beforeEach(() => {
  backend = fakeBackend();
  backend.images.add("busybox", { Cmd: ["sh"], Entrypoint: ["/entry"] });
});

describe("instanceRequest", () => {
  it("fills in Docker's defaults for an almost empty body", () => {
    const request = decode({ Image: "busybox" }, "/name");
    expect(request).toMatchObject({
      name: "name",
      image: "busybox",
      process: { entrypoint: null, cmd: null, env: [], tty: false, init: false },
      network: { mode: "bridge", endpoints: { bridge: { aliases: [] } }, ports: [] },
      restartPolicy: { name: "no", maximumRetryCount: 0 },
      log: { driver: "json-file", options: {} },
      security: { seccomp: "default", maskedPaths: null, privileged: false },
      healthcheck: null,
      stopTimeout: null,
    });
  });

  it("treats null everywhere as absent", () => {
    const request = decode({ Image: "busybox", Cmd: null, Env: null, HostConfig: null, NetworkingConfig: null });
    expect(request.process.cmd).toBeNull();
  });

  it("tells an absent, a cleared and a given entry point apart", () => {
    expect(decode({ Image: "busybox", Cmd: [] }).process).toMatchObject({ entrypoint: null, cmd: null });
    expect(decode({ Image: "busybox", Entrypoint: [""] }).process).toMatchObject({ entrypoint: [], cmd: null });
    expect(decode({ Image: "busybox", Entrypoint: [] }).process).toMatchObject({ entrypoint: [], cmd: ["sh"] });
    expect(decode({ Image: "busybox", Entrypoint: "/x", Cmd: "y" }).process).toMatchObject({
      entrypoint: ["/x"],
      cmd: ["y"],
    });
  });

  it("decodes ports, ranges included", () => {
    const { network } = decode({
      Image: "busybox",
      ExposedPorts: { "80": {}, "53/udp": {} },
      HostConfig: {
        PortBindings: {
          "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080-8090" }],
          "90-91/tcp": [{ HostPort: "190-191" }],
          "53/udp": null,
        },
      },
    });
    expect(network.exposedPorts).toEqual(["80/tcp", "53/udp"]);
    expect(network.ports).toContainEqual({
      containerPort: 80,
      protocol: "tcp",
      hostIp: "127.0.0.1",
      hostPort: 8080,
      hostPortEnd: 8090,
    });
    expect(network.ports).toContainEqual({ containerPort: 91, protocol: "tcp", hostIp: "", hostPort: 191 });
    expect(network.ports).toContainEqual({ containerPort: 53, protocol: "udp", hostIp: "", hostPort: 0 });
  });

  it("decodes security options", () => {
    const SecurityOpt = ["no-new-privileges", "seccomp=unconfined", "label=disable", "apparmor:unconfined"];
    const { security } = decode({ Image: "busybox", HostConfig: { SecurityOpt, CapAdd: ["cap_net_admin", "ALL"] } });
    expect(security).toMatchObject({
      noNewPrivileges: true,
      seccomp: "unconfined",
      capAdd: ["NET_ADMIN", "ALL"],
      otherOptions: ["label=disable", "apparmor:unconfined"],
    });
  });

  it("puts the mode's network first, with links and the older MAC address", () => {
    const { network } = decode({
      Image: "busybox",
      MacAddress: "02:00:00:00:00:01",
      HostConfig: { NetworkMode: "default", Links: ["db:data"] },
      NetworkingConfig: { EndpointsConfig: { bridge: { Aliases: ["a"], IPAMConfig: { IPv4Address: "172.17.0.9" } } } },
    });
    expect(network.endpoints).toEqual({
      bridge: { aliases: ["a"], ipv4Address: "172.17.0.9", links: ["db:data"], macAddress: "02:00:00:00:00:01" },
    });
  });

  it("resolves another container's namespaces to its id", async () => {
    const { record } = await backend.instances.create(background(), decode({ Image: "busybox" }, "other"));
    const HostConfig = { NetworkMode: "container:other", PidMode: "container:other", IpcMode: "container:other" };
    const request = decode({ Image: "busybox", HostConfig });
    expect(request.network).toMatchObject({ mode: `container:${record.id}`, endpoints: {} });
    expect(request.namespaces).toMatchObject({ pid: `container:${record.id}`, ipc: `container:${record.id}` });
    expect(() => decode({ Image: "busybox", HostConfig: { PidMode: "container:nope" } })).toThrow("No such container");
  });

  it.each<[string, NonNullable<CreateContainerBody["HostConfig"]>, string]>([
    ["CgroupParent", { CgroupParent: "/x" }, "HostConfig.CgroupParent is not supported"],
    ["DeviceRequests", { DeviceRequests: [{}] }, "HostConfig.DeviceRequests is not supported"],
    ["StorageOpt", { StorageOpt: { size: "1g" } }, "HostConfig.StorageOpt is not supported"],
    ["CpuRealtimePeriod", { CpuRealtimePeriod: 1 }, "HostConfig.CpuRealtimePeriod is not supported"],
    ["Isolation", { Isolation: "hyperv" }, "invalid isolation (hyperv)"],
    ["Runtime", { Runtime: "kata" }, "unknown or invalid runtime name: kata"],
    ["LogConfig", { LogConfig: { Type: "syslog" } }, "no log driver named 'syslog'"],
    ["VolumeDriver", { VolumeDriver: "nfs", Binds: ["data:/data"] }, 'plugin "nfs" not found'],
    ["RestartPolicy", { RestartPolicy: { Name: "often" } }, "unknown policy 'often'"],
    ["SecurityOpt", { SecurityOpt: ["apparmor=mine"] }, "AppArmor profiles are not used"],
    ["SecurityOpt word", { SecurityOpt: ["what"] }, 'invalid --security-opt 1: "what"'],
    ["PortBindings", { PortBindings: { "80/tcp": [{ HostPort: "90-80" }] } }, 'invalid port specification: "90-80"'],
    ["Port ranges", { PortBindings: { "80-82/tcp": [{ HostPort: "1-2" }] } }, "invalid ranges specified"],
    ["NetworkMode", { NetworkMode: "nope" }, "network nope not found"],
    ["host with links", { NetworkMode: "host", Links: ["a:b"] }, "can't be used with links"],
  ])("refuses %s that it can't honour", (_name, HostConfig, message) => {
    expect(() => decode({ Image: "busybox", HostConfig })).toThrow(message);
  });

  it("takes the runtime vm for a kernel of its own", () => {
    expect(decode({ Image: "busybox" }).isolation).toBe("container");
    expect(decode({ Image: "busybox", HostConfig: { Runtime: "vm" } }).isolation).toBe("vm");
  });

  it("keeps what only inspect shows", () => {
    const request = decode({
      Image: "busybox",
      AttachStdout: true,
      HostConfig: { Binds: ["/a:/b"], ConsoleSize: [24, 80], ContainerIDFile: "/x", CgroupParent: "" },
    });
    expect(request.passthrough).toEqual({
      "Config.AttachStdout": true,
      "HostConfig.Binds": ["/a:/b"],
      "HostConfig.ConsoleSize": [24, 80],
      "HostConfig.ContainerIDFile": "/x",
    });
  });
});
