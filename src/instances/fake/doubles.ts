/** Small stand-ins for the rooms that instances stand on: each keeps just enough for a test to look at. */
import { lstatSync, mkdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { ConfinedRoot, ConfinedRoots, FileStat } from "../../archive/confined-root.ts";
import { archiveErrors } from "../../archive/errors.ts";
import { defineErrors } from "../../base/errors.ts";
import type { CreateImageRequest, ImageService } from "../../images/image-service.ts";
import type { NetworkService, SandboxRecord, SandboxRequest } from "../../network/network-service.ts";
import type { ImageRecord, ImageRunConfig } from "../../schema/image.ts";
import type { EndpointRecord, EndpointSpec, NetworkRecord, PortSpec, PublishedPort } from "../../schema/network.ts";
import type { VolumeRecord } from "../../schema/volume.ts";
import type { Snapshotter } from "../../snapshots/snapshotter.ts";
import type { CreateVolumeRequest, VolumeService } from "../../volumes/volume-service.ts";

const doubleErrors = defineErrors({
  LAYER_NOT_FOUND: { status: 404, message: (p: { readonly chainId: string }) => `no layer ${p.chainId}` },
  IMAGE_NOT_FOUND: { status: 404, message: (p: { readonly name: string }) => `No such image: ${p.name}` },
  NETWORK_NOT_FOUND: { status: 404, message: (p: { readonly name: string }) => `network ${p.name} not found` },
  VOLUME_NOT_FOUND: { status: 404, message: (p: { readonly name: string }) => `get ${p.name}: no such volume` },
  VOLUME_IN_USE: { status: 409, message: (p: { readonly name: string }) => `remove ${p.name}: volume is in use` },
  PORT_IN_USE: { status: 500, message: (p: { readonly port: number }) => `port ${p.port} is already allocated` },
});

function unused(): never {
  throw new Error("this double does not do that");
}

/** One image, "busybox:latest", whose run configuration a test sets. */
export class ImagesDouble {
  onUnpack: () => void = () => {};
  readonly created: CreateImageRequest[] = [];
  readonly id = `sha256:${"a".repeat(64)}`;
  runConfig: ImageRunConfig = {};

  get image(): ImageRecord {
    const blob = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: `sha256:${"b".repeat(64)}`, size: 1 };
    return {
      id: this.id,
      manifest: { ...blob, digest: `sha256:${"c".repeat(64)}` },
      layers: [{ blob, diffId: `sha256:${"d".repeat(64)}` }],
      config: {
        architecture: "amd64",
        os: "linux",
        config: this.runConfig,
        rootfs: { type: "layers", diff_ids: [`sha256:${"d".repeat(64)}`] },
      },
      tags: ["docker.io/library/busybox:latest"],
      repoDigests: [],
      size: 1000,
      intermediate: false,
    };
  }

  service(): ImageService {
    return {
      resolve: (name) => {
        if (name !== "busybox:latest" && name !== this.id) throw doubleErrors.IMAGE_NOT_FOUND({ name });
        return this.image;
      },
      list: () => [this.image],
      keep: unused,
      unpack: async () => {
        this.onUnpack();
        return "chain-of-busybox";
      },
      create: async (_ctx, request) => {
        this.created.push(request);
        return { ...this.image, id: `sha256:${"e".repeat(64)}`, config: request.config };
      },
      layerSink: async () => ({ write: async () => {}, finish: unused, [Symbol.asyncDispose]: async () => {} }),
      pull: unused,
      push: unused,
      load: unused,
      save: unused,
      saveAs: unused,
      import: unused,
      bootstrap: unused,
      tag: unused,
      remove: unused,
      prune: unused,
      history: unused,
      release: async () => {},
      diskUsage: unused,
    };
  }
}

const committed = {
  diffId: `sha256:${"f".repeat(64)}`,
  size: 10,
  blob: { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: `sha256:${"9".repeat(64)}`, size: 5 },
};

/** Plain directories under `base`: `<id>/root`. */
export class SnapshotsDouble {
  readonly base: string;
  readonly parents = new Map<string, string>();
  readonly mounted = new Set<string>();
  readonly volatile = new Set<string>();
  /** By chain id: snapshots on these can't be mounted. */
  readonly lostLayers = new Set<string>();
  /** What happens while a commit packs its layer. */
  onCommit: () => Promise<void> = async () => {};
  /** Layers from elsewhere. */
  readonly imported: string[] = [];

  constructor(base: string) {
    this.base = base;
  }

  rootOf(id: string): string {
    return join(this.base, id, "root");
  }

  service(): Snapshotter {
    return {
      name: "double",
      prepare: async (_ctx, id, parent) => {
        mkdirSync(this.rootOf(id), { recursive: true });
        this.parents.set(id, parent);
      },
      mount: async (_ctx, id, options) => {
        const chainId = this.parents.get(id);
        if (chainId === undefined) throw new Error(`no snapshot ${id}`);
        if (this.lostLayers.has(chainId)) throw doubleErrors.LAYER_NOT_FOUND({ chainId });
        this.mounted.add(id);
        if (options?.volatile === true) this.volatile.add(id);
        return this.rootOf(id);
      },
      unmount: async (_ctx, id) => void this.mounted.delete(id),
      remove: async (_ctx, id) => {
        this.mounted.delete(id);
        this.parents.delete(id);
        rmSync(join(this.base, id), { recursive: true, force: true });
      },
      list: async () => [...this.parents.keys()],
      view: async (_ctx, chainId) => ({ root: join(this.base, chainId), [Symbol.asyncDispose]: async () => {} }),
      changes: async () => [{ kind: "added", path: "/new" }],
      usage: async () => 42,
      diskUsage: async (_ctx, ids) => ids.map(() => 8192),
      layersOnDisk: async (_ctx, chainIds) => chainIds.map(() => 4096),
      commit: async (_ctx, id) => {
        await this.onCommit();
        return { ...committed, chainId: `chain-of-${id}`, parent: this.parents.get(id) ?? "" };
      },
      hasLayer: async () => true,
      applyLayer: unused,
      importLayer: async (_ctx, { parent, tar }) => {
        this.imported.push(await text(tar));
        return { ...committed, chainId: `chain-on-${parent}`, parent };
      },
      layer: unused,
      layers: unused,
      removeLayer: unused,
      diffTar: unused,
    };
  }
}

function published({ containerPort, protocol, hostPort }: PortSpec): PublishedPort {
  return { containerPort, protocol, hostIp: "0.0.0.0", hostPort: hostPort === 0 ? 32768 : hostPort };
}

/** Sandboxes without a kernel. A port set in {@link taken} is refused. */
export class NetworksDouble {
  readonly sandboxes = new Map<string, SandboxRecord>();
  readonly requests: SandboxRequest[] = [];
  readonly asked = new Map<string, readonly PortSpec[]>();
  readonly taken = new Set<number>();
  readonly names = ["bridge", "app"];

  service(): NetworkService {
    const network = (name: string): NetworkRecord => ({
      id: `id-of-${name}`,
      spec: {
        name,
        driver: "bridge",
        internal: false,
        attachable: false,
        enableIPv6: false,
        ipam: [],
        options: {},
        labels: {},
      },
      createdAt: "2026-01-01T00:00:00.000Z",
      bridge: name,
      mtu: 1500,
      builtin: name === "bridge",
    });
    const resolve = (nameOrId: string) => {
      const name = this.names.find((each) => each === nameOrId || `id-of-${each}` === nameOrId);
      if (name === undefined) throw doubleErrors.NETWORK_NOT_FOUND({ name: nameOrId });
      return network(name);
    };
    const sandboxOf = (id: string) => {
      const sandbox = this.sandboxes.get(id);
      if (sandbox === undefined) throw new Error(`no sandbox ${id}`);
      return sandbox;
    };
    const askedFor = (id: string) => this.asked.get(id) ?? [];
    const withPorts = (id: string, ports: readonly PublishedPort[]) => {
      const changed = { ...sandboxOf(id), ports };
      this.sandboxes.set(id, changed);
      return changed;
    };
    const withEndpoints = (id: string, endpoints: readonly EndpointRecord[]) => {
      const changed = { ...sandboxOf(id), endpoints };
      this.sandboxes.set(id, changed);
      return changed;
    };
    const without = (id: string, name: string) =>
      sandboxOf(id).endpoints.filter(({ networkId }) => networkId !== resolve(name).id);
    return {
      checkEndpoint: () => {},
      recover: async (_ctx, live) => {
        const ids = new Set(live.map(({ instanceId }) => instanceId));
        for (const id of this.sandboxes.keys()) if (!ids.has(id)) this.sandboxes.delete(id);
      },
      setUp: async (_ctx, request) => {
        this.requests.push(request);
        this.asked.set(request.instanceId, request.ports);
        const clash = request.ports.find(({ hostPort }) => this.taken.has(hostPort));
        if (clash !== undefined) throw doubleErrors.PORT_IN_USE({ port: clash.hostPort });
        const sandbox: SandboxRecord = {
          instanceId: request.instanceId,
          instanceName: request.instanceName,
          mode: request.mode,
          netnsPath: request.mode === "host" ? "" : `/netns/${request.instanceId}`,
          endpoints: [],
          ports: request.ports.map(published),
          resolvConfPath: "/files/resolv.conf",
          hostsPath: "/files/hosts",
          hostnamePath: "/files/hostname",
        };
        this.sandboxes.set(request.instanceId, sandbox);
        return sandbox;
      },
      tearDown: async (_ctx, id) => void this.sandboxes.delete(id),
      sandbox: (id) => this.sandboxes.get(id),
      resolve,
      list: () => this.names.map(network),
      rename: async (_ctx, id, instanceName) => {
        this.sandboxes.set(id, { ...sandboxOf(id), instanceName });
      },
      relink: async (_ctx, id) => sandboxOf(id),
      connect: async (_ctx, id, name, spec) => {
        const { endpoints } = sandboxOf(id);
        return withEndpoints(id, [...endpoints, endpoint(resolve(name), spec, endpoints.length)]);
      },
      disconnect: async (_ctx, id, name) => withEndpoints(id, without(id, name)),
      publish: async (_ctx, id, specs) => {
        const clash = specs.find(({ hostPort }) => this.taken.has(hostPort));
        if (clash !== undefined) throw doubleErrors.PORT_IN_USE({ port: clash.hostPort });
        this.asked.set(id, [...askedFor(id), ...specs]);
        return withPorts(id, [...sandboxOf(id).ports, ...specs.map(published)]);
      },
      unpublish: async (_ctx, id, { ports, rest }) => {
        this.asked.set(id, rest);
        return withPorts(
          id,
          sandboxOf(id).ports.filter(({ hostPort }) => !ports.some((gone) => gone.hostPort === hostPort)),
        );
      },
      portsAskedFor: askedFor,
      leave: async (_ctx, id, name) => void withEndpoints(id, without(id, name)),
      create: unused,
      remove: unused,
      prune: unused,
      endpointsOf: () => [],
    };
  }
}

export class VolumesDouble {
  readonly base: string;
  readonly volumes = new Map<string, VolumeRecord>();
  readonly copiedUp: { readonly name: string; readonly from: string }[] = [];
  /** In the middle of filling a volume. */
  onCopyUp: (name: string) => void = () => {};
  /** Volume names to those who mount them. */
  readonly mounts = new Map<string, Set<string>>();
  users: (name: string) => readonly string[] = () => [];

  constructor(base: string) {
    this.base = base;
  }

  service(): VolumeService {
    const require = (name: string) => {
      const volume = this.volumes.get(name);
      if (volume === undefined) throw doubleErrors.VOLUME_NOT_FOUND({ name });
      return volume;
    };
    return {
      recover: async (_ctx, live) => {
        for (const holders of this.mounts.values()) {
          for (const id of holders) if (!live.has(id)) holders.delete(id);
        }
      },
      create: async (_ctx, request: CreateVolumeRequest) => {
        const known = this.volumes.get(request.name);
        if (known !== undefined) return known;
        const volume: VolumeRecord = {
          name: request.name,
          driver: "local",
          mountpoint: join(this.base, request.name),
          labels: { ...request.labels },
          options: { ...request.options },
          createdAt: "2026-01-01T00:00:00.000Z",
          anonymous: request.anonymous === true,
          ...(request.madeFor === undefined ? {} : { madeFor: request.madeFor }),
        };
        mkdirSync(volume.mountpoint, { recursive: true });
        this.volumes.set(request.name, volume);
        return volume;
      },
      get: (name) => this.volumes.get(name),
      require,
      list: () => [...this.volumes.values()],
      remove: async (_ctx, name) => {
        require(name);
        if (this.users(name).length > 0) throw doubleErrors.VOLUME_IN_USE({ name });
        this.volumes.delete(name);
      },
      mount: async (_ctx, name, id) => {
        const holders = this.mounts.get(name) ?? new Set<string>();
        this.mounts.set(name, holders.add(id));
        return require(name).mountpoint;
      },
      unmount: async (_ctx, name, id) => void this.mounts.get(name)?.delete(id),
      copyUp: async (_ctx, name, from) => {
        this.onCopyUp(name);
        this.copiedUp.push({ name, from });
      },
      prune: unused,
      diskUsage: async (_ctx, names) => names.map(() => 0),
    };
  }
}

/** Looks at files without a wall: a test's own files are not hostile. */
export const plainRoots: ConfinedRoots = {
  open: async (_ctx, base) => plainRoot(base),
};

function plainRoot(base: string): ConfinedRoot {
  return {
    stat: async (_ctx, path) => plainStat(base, path),
    readFile: unused,
    makeDirectories: unused,
    extract: unused,
    spool: unused,
    pack: async () => Readable.from([]),
    list: unused,
    diskUsage: async (_ctx, paths) => paths.map(() => 4096),
    digest: unused,
    remove: unused,
    [Symbol.asyncDispose]: async () => {},
  };
}

function plainStat(base: string, path: string): FileStat {
  try {
    const stat = lstatSync(join(base, path));
    const kind = stat.isSymbolicLink() ? "symlink" : stat.isDirectory() ? "directory" : "file";
    return {
      name: path.split("/").at(-1) ?? "",
      kind,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      size: stat.size,
      mtimeMs: stat.mtimeMs,
      linkTarget: kind === "symlink" ? readlinkSync(join(base, path)) : "",
    };
  } catch {
    throw archiveErrors.PATH_NOT_FOUND({ path });
  }
}

function endpoint({ id, spec: { name } }: NetworkRecord, spec: EndpointSpec, nth: number): EndpointRecord {
  return {
    id: `endpoint-${name}`,
    networkId: id,
    networkName: name,
    spec,
    interfaceName: `eth${nth}`,
    hostInterface: `vb${name}`,
    ipv4Cidr: "",
    gateway: "",
    macAddress: "",
    dnsNames: [],
  };
}
