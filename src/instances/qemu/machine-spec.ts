/** The specification of a machine that `berth-vmm run` reads; guest/vmm/spec.c lists its fields. Paths are those inside the jail. */
import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import type { Acceleration } from "../../guest/kvm-probe.ts";
import type { Field } from "../../guest/frames.ts";
import { templateFiles } from "../../guest/templates.ts";
import { ownResolverAddress } from "../../network/resolver-plan.ts";
import type { NetworksInside, PrepareRequest } from "../driver.ts";
import { tmpfsOptions } from "../oci/spec/mounts.ts";
import { guestMemory, machineCpus } from "./machine-size.ts";
import { mainProcessFields, requireRoom } from "./process-fields.ts";
import { isNetworkFile, sharesOf } from "./shares.ts";

const MiB = 1024 * 1024;
/** As many as the agent asks (guest/agent/resolver.c). */
const maxResolvers = 8;
const defaultShmSize = 64 * MiB;

/** Network cards beyond those of its networks, for such as come while it runs. One that goes leaves its own. */
const spareCards = 1;

/** Where the jail has what the machine is made of. */
export const inJail = {
  vmm: "/berth/vmm",
  spec: "/berth/spec",
  kernel: "/berth/kernel",
  initrd: "/berth/initrd",
  image: "/berth/image",
  blank: "/berth/blank",
  scratch: "/berth/scratch",
  run: "/berth/run",
  template: "/berth/template",
} as const;

/** Of a keeper, in its directory of sockets. */
export const adoptionSocket = "adopt.sock";

export interface MachineParts {
  readonly acceleration: Acceleration;
  readonly hostCpus: number;
  /** Command line of the daemon for the shares, in the jail; empty where there are none. */
  readonly shareDaemon: readonly string[];
}

/** Reads the files that the instance's network has on this host: the guest gets them as they are now. */
export async function machineSpec(request: PrepareRequest, parts: MachineParts): Promise<readonly Field[]> {
  const { spec } = request;
  const { resources, security } = spec;
  const resting = request.resting === true;
  const run = resting ? [] : requireRoom(mainProcessFields(request));
  const configure = requireRoom(await configureFields(request));
  return [
    ["accel", parts.acceleration.kind],
    ["memory", String(guestMemory(resources) / MiB)],
    ["cpus", String(machineCpus(resources, parts.hostCpus))],
    ...placeFields,
    ...(spec.autoRemove || spec.internal ? throwAway : []),
    ...request.interfaces.map((name): Field => ["net", name]),
    ...(resting || spec.network.mode === "none" ? [] : [["spare", String(spareCards)] as const]),
    ...parts.shareDaemon.map((word): Field => ["shares", word]),
    ...(security.readonlyRootfs ? [["mount.readonly", "1"] as const] : []),
    ["mount.shm", String(spec.shmSize === 0 ? defaultShmSize : spec.shmSize)],
    ...configure.map(([name, value]): Field => [`configure.${name}`, value]),
    ...run.map(([name, value]): Field => [`run.${name}`, value]),
    ...(resting ? [["maintenance", "1"] as const] : []),
  ];
}

/** Where a machine has what it is made of: the same for all. */
export const placeFields: readonly Field[] = [
  ["kernel", inJail.kernel],
  ["initrd", inJail.initrd],
  ["image", inJail.image],
  ["scratch", inJail.scratch],
  ["run", inJail.run],
];

/** It need not survive the host, but a restart: what the guest syncs is QEMU's no more, and the host's to write when it likes. */
const throwAway: readonly Field[] = [
  ["scratch.cache", "unsafe"],
  ["discard", "1"],
];

/** What makes a machine a clone of the template in its jail, rather than one that boots. */
export const cloneFields: readonly Field[] = [
  ["ram", `${inJail.template}/${templateFiles.ram}`],
  ["restore", `${inJail.template}/${templateFiles.state}`],
  ["pristine", `${inJail.template}/${templateFiles.pristine}`],
];

/** What makes one out of a clone that waits, by the socket that was put into its directory; else it is a clone as any other. */
export const adoptionFields: readonly Field[] = [
  ["adopt", `${inJail.run}/${adoptionSocket}`],
  ["fresh", `${inJail.template}/${templateFiles.scratch}`],
];

/** What berth-vmm and the agent are asked when its networks are others. The name server goes when it is not wanted any more. */
export async function networkFields(networks: NetworksInside): Promise<readonly Field[]> {
  const files = await networkFiles(networks);
  const [resolver = ["resolver", ""] as const] = resolverFields(networks, files);
  const nets = networks.interfaces.map((name): Field => ["net", name]);
  return requireRoom([["verb", "cards"], ...nets, resolver, ...files]);
}

/** Who the guest is. */
async function configureFields(request: PrepareRequest): Promise<readonly Field[]> {
  const { domainname, sysctls } = request.spec;
  const files = await networkFiles(request);
  return [
    ["hostname", request.hostname],
    ...(domainname === "" ? [] : [["domainname", domainname] as const]),
    ...resolverFields(request, files),
    ...files,
    ...mountFields(request),
    ...Object.entries(sysctls).map(([name, value]): Field => ["sysctl", `${name}=${value}`]),
  ];
}

/**
 * A container on several networks has a name server of its own in its namespace, which a guest can't reach: it is given one inside, that
 * asks those of its networks, and its own.
 */
function resolverFields({ endpoints, spec }: NetworksInside, files: readonly Field[]): readonly Field[] {
  const hasOwn = files.some(
    ([, text]) => text.startsWith("/etc/resolv.conf\n") && text.includes(`\nnameserver ${ownResolverAddress}\n`),
  );
  if (!hasOwn) return [];
  const networks = endpoints.flatMap(({ nameServer = "" }) => (nameServer === "" ? [] : [nameServer]));
  const servers = [...networks, ...spec.network.dns.filter((server) => isIPv4(server))];
  return servers.length === 0 ? [] : [["resolver", servers.slice(0, maxResolvers).join(" ")]];
}

/** In their order: what is mounted below another mount comes after it. */
function mountFields(request: PrepareRequest): readonly Field[] {
  const names = new Map(sharesOf(request).map(({ name, mount }) => [mount, name]));
  return request.mounts.flatMap((mount): Field[] => {
    if (mount.type === "tmpfs") return [["tmpfs", `${mount.target}\n${tmpfsOptions(mount.options).join(",")}`]];
    const name = names.get(mount);
    return name === undefined ? [] : [["share", `${name}\n${mount.target}\n${mount.options.join(",")}`]];
  });
}

async function networkFiles(request: NetworksInside): Promise<readonly Field[]> {
  const found = request.mounts.filter((mount) => isNetworkFile(request, mount));
  return await Promise.all(
    found.map(async ({ source, target }): Promise<Field> => ["file", `${target}\n${await readFile(source, "utf8")}`]),
  );
}
