/** A whole back end in memory, with processes that are functions: for tests of the transport. */
import { Value } from "typebox/value";
import type { OpContext } from "../../../base/op-context.ts";
import type { BuildRequest, BuildService } from "../../../build/build-service.ts";
import type { MachineService } from "../../../machines/machine-service.ts";
import type { NetworkService } from "../../../network/network-service.ts";
import type { NetworkRecord } from "../../../schema/network.ts";
import type { VolumeRecord } from "../../../schema/volume.ts";
import { EngineConfig } from "../../../schema/config.ts";
import { EventBus } from "../../../state/events.ts";
import type { VolumeService } from "../../../volumes/volume-service.ts";
import type { DockerBackend, RegistryBackend, SystemBackend } from "../backend.ts";
import { apiErrors } from "../errors.ts";
import { FakeImages } from "./fake-images.ts";
import { FakeInstances } from "./fake-instances.ts";

export interface FakeBackend extends DockerBackend {
  readonly images: FakeImages;
  readonly instances: FakeInstances;
  /** Requests that the builder got. */
  readonly builds: BuildRequest[];
}

export function fakeBackend(): FakeBackend {
  const events = new EventBus();
  const images = new FakeImages();
  const builds: BuildRequest[] = [];
  return {
    images,
    instances: new FakeInstances(images, events),
    machines: fakeMachines(),
    networks: fakeNetworks(),
    volumes: fakeVolumes(),
    builder: fakeBuilder(images, builds),
    builds,
    buildKit: () => unused("BuildKit"),
    machineImages: { build: () => unused("machine images"), fromDisk: () => unused("machine images") },
    events,
    registry: fakeRegistry(),
    system: fakeSystem(),
  };
}

function unused(what: string): never {
  throw new Error(`the fake back end has no ${what}`);
}

function fakeMachines(): MachineService {
  return {
    create: () => unused("machines"),
    list: () => [],
    resolve: () => unused("machines"),
    view: () => unused("machines"),
    start: () => unused("machines"),
    stop: () => unused("machines"),
    reset: () => unused("machines"),
    rename: () => unused("machines"),
    remove: () => unused("machines"),
    addresses: () => unused("machines"),
    export: () => unused("machines"),
    import: () => unused("machines"),
    migrate: () => unused("machines"),
    arrivals: {
      receive: () => unused("machines"),
      connect: () => unused("machines"),
      finish: () => unused("machines"),
      state: () => unused("machines"),
      cancel: () => unused("machines"),
    },
    convertToMachine: () => unused("machines"),
    convertToImage: () => unused("machines"),
    live: {
      recover: () => unused("machines"),
      createSnapshot: () => unused("machines"),
      listSnapshots: () => unused("machines"),
      revertToSnapshot: () => unused("machines"),
      removeSnapshot: () => unused("machines"),
      save: () => unused("machines"),
      discardSaved: () => unused("machines"),
      screenshot: () => unused("machines"),
      typeKeys: () => unused("machines"),
      attachDisk: () => unused("machines"),
      detachDisk: () => unused("machines"),
      attachNic: () => unused("machines"),
      detachNic: () => unused("machines"),
      changeMedium: () => unused("machines"),
      setBootOrder: () => unused("machines"),
      resize: () => unused("machines"),
      clone: () => unused("machines"),
      backUp: () => unused("machines"),
    },
  };
}

function fakeNetworks(): NetworkService {
  const network = (name: string, driver: "bridge" | "bridged" | "host" | "null"): NetworkRecord => ({
    id: Buffer.from(name.padEnd(32, "."), "utf8").toString("hex"),
    spec: {
      name,
      driver,
      internal: false,
      attachable: false,
      enableIPv6: false,
      ipam: driver === "bridge" ? [{ subnet: "172.17.0.0/16", gateway: "172.17.0.1" }] : [],
      options: {},
      labels: {},
    },
    createdAt: "2026-01-01T00:00:00.000Z",
    bridge: driver === "bridge" ? "brt000000" : "",
    mtu: 1500,
    builtin: true,
  });
  const networks = [network("bridge", "bridge"), network("host", "host"), network("none", "null")];
  const find = (nameOrId: string) => {
    const found = networks.find(({ id, spec }) => spec.name === nameOrId || id.startsWith(nameOrId));
    if (found === undefined) throw apiErrors.API_NOT_FOUND({ message: `network ${nameOrId} not found` });
    return found;
  };
  return {
    recover: () => unused("recovery"),
    create: (_ctx, spec) => {
      const made: NetworkRecord = { ...network(spec.name, spec.driver), spec, builtin: false };
      networks.push(made);
      return Promise.resolve({ network: made, warnings: [] });
    },
    resolve: find,
    list: () => networks,
    checkEndpoint: () => {},
    remove: (_ctx, nameOrId) => {
      const found = find(nameOrId);
      networks.splice(networks.indexOf(found), 1);
      return Promise.resolve(found);
    },
    prune: () => Promise.resolve([]),
    endpointsOf: () => [],
    setUp: () => unused("sandboxes"),
    tearDown: () => unused("sandboxes"),
    connect: () => unused("sandboxes"),
    disconnect: () => unused("sandboxes"),
    relink: () => unused("sandboxes"),
    publish: () => unused("sandboxes"),
    unpublish: () => unused("sandboxes"),
    portsAskedFor: () => [],
    leave: () => unused("sandboxes"),
    rename: () => unused("sandboxes"),
    sandbox: () => undefined,
  };
}

function fakeVolumes(): VolumeService {
  const volumes = new Map<string, VolumeRecord>();
  const require = (name: string) => {
    const volume = volumes.get(name);
    if (volume === undefined) throw apiErrors.API_NOT_FOUND({ message: `get ${name}: no such volume` });
    return volume;
  };
  return {
    recover: () => Promise.resolve(),
    create: (_ctx, request) => {
      const name = request.name === "" ? "f".repeat(64) : request.name;
      const volume: VolumeRecord = {
        name,
        driver: "local",
        mountpoint: `/volumes/${name}/_data`,
        labels: { ...request.labels },
        options: { ...request.options },
        createdAt: "2026-01-01T00:00:00.000Z",
        anonymous: request.name === "",
      };
      volumes.set(name, volume);
      return Promise.resolve(volume);
    },
    get: (name) => volumes.get(name),
    require,
    list: () => [...volumes.values()],
    remove: (_ctx, name, force) => {
      if (!force) require(name);
      volumes.delete(name);
      return Promise.resolve();
    },
    prune: () => {
      const deleted = [...volumes.keys()];
      volumes.clear();
      return Promise.resolve({ deleted, reclaimedBytes: 0 });
    },
    mount: () => unused("mounts"),
    unmount: () => unused("mounts"),
    copyUp: () => unused("copies"),
    diskUsage: (_ctx, names) => Promise.resolve(names.map(() => 4096)),
  };
}

function fakeBuilder(images: FakeImages, builds: BuildRequest[]): BuildService {
  return {
    build: async (_ctx: OpContext, request, progress) => {
      builds.push(request);
      if ("tar" in request.context) for await (const _chunk of request.context.tar);
      progress({ stream: "Step 1/1 : FROM scratch\n" });
      if (request.target === "fail") throw apiErrors.API_BAD_REQUEST({ message: "the build failed" });
      const image = images.add(request.tags[0] ?? "built:latest");
      progress({ aux: { ID: image.id } });
      progress({ stream: `Successfully built ${image.id.slice(7, 19)}\n` });
      return image;
    },
    buildObserved: () => unused("builds by BuildKit's API"),
    pruneCache: () => Promise.resolve({ deleted: [], reclaimedBytes: 0 }),
    cacheDirectories: () => Promise.resolve([]),
  };
}

function fakeRegistry(): RegistryBackend {
  return {
    login: (_ctx, auth) =>
      auth.password === "right"
        ? Promise.resolve({})
        : Promise.reject(apiErrors.API_BAD_REQUEST({ message: "unauthorized: incorrect username or password" })),
    inspect: () =>
      Promise.resolve({
        descriptor: {
          mediaType: "application/vnd.oci.image.manifest.v1+json",
          digest: `sha256:${"a".repeat(64)}`,
          size: 7,
        },
        platforms: [{ os: "linux", architecture: "amd64" }],
      }),
  };
}

function fakeSystem(): SystemBackend {
  return {
    facts: {
      id: "fake",
      version: "0.0.1",
      gitCommit: "unknown",
      buildTime: "",
      kernelRelease: "6.0",
      architecture: "amd64",
      machine: "x86_64",
      cpus: 2,
      memoryBytes: 2 ** 31,
      runtime: "runc",
      components: { runc: "1.1.5" },
      storageDriver: "overlay2",
      cgroupVersion: 1,
    },
    info: () =>
      Promise.resolve({
        hostname: "fake",
        operatingSystem: "Fake Linux",
        dataRoot: "/data",
        debug: false,
        storageStatus: [["Backing Filesystem", "extfs"]],
        securityOptions: ["name=seccomp,profile=builtin"],
        ipv4Forwarding: true,
        limits: {
          memory: true,
          swap: true,
          oomKillDisable: true,
          cpuCfs: true,
          cpuShares: true,
          cpuset: true,
          pids: true,
          blkio: true,
        },
        registryMirrors: [],
        insecureRegistries: ["127.0.0.0/8"],
        addressPools: [{ base: "172.17.0.0/12", size: 16 }],
        firewall: "nftables",
        warnings: [],
        httpProxy: "",
        httpsProxy: "",
        noProxy: "",
        openFiles: 7,
      }),
    pathsOf: (record) => ({
      logPath: `/data/${record.id}.log`,
      graphDriver: { name: "overlay2", data: {} },
      hostnamePath: "",
      hostsPath: "",
      resolvConfPath: "",
      sandboxKey: record.state.pid === 0 ? "" : `/run/netns/${record.id}`,
    }),
    cpuClock: () => Promise.resolve({ totalNs: Math.round(performance.now() * 2_000_000), online: 2 }),
    capacity: () => Promise.resolve({ resources: [], holders: [], shared: [] }),
    engineInfo: () =>
      Promise.resolve({
        tag: "000000",
        paths: { dataRoot: "/data", runRoot: "/run" },
        runtime: { available: true, reasons: [], versions: { runc: "1.1.5" }, runtime: "runc" },
        machines: { available: true, reasons: ["emulation, not KVM"], versions: {}, runtime: "tcg" },
        machinePool: { size: 2, waiting: 1 },
        cgroupMode: "hybrid",
        config: Value.Create(EngineConfig),
      }),
    machineTemplates: { list: () => [], prune: () => Promise.resolve([]) },
  };
}
