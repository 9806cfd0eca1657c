/**
 * The container that a machine runs in: a nearly empty root with the host's programs, read-only, the parts of the machine, and
 * berth-vmm as its one process. It has the instance's namespaces, control group, log and terminal.
 */
import { existsSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { mkdir, symlinkSync } from "../../host/files.ts";
import type { DeviceSpec } from "../../schema/instance.ts";
import type { ResourceSpec } from "../../schema/resources.ts";
import type { PrepareRequest, ResolvedMount } from "../driver.ts";
import { jailResources } from "./machine-size.ts";
import { inJail } from "./machine-spec.ts";
import { type Share, shareCapabilities, shareSyscalls, sharesRoot } from "./shares.ts";

/** Paths on the host. */
export interface JailParts {
  readonly vmm: string;
  readonly spec: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly image: string;
  readonly blank: string;
  readonly scratch: string;
  readonly runDir: string;
  readonly kvm: boolean;
  readonly shares: readonly Share[];
  /** The directory of the template that the machine is restored from; writable for the one that makes it. */
  readonly template?: { readonly directory: string; readonly access: "ro" | "rw" };
}

/** Of the host's root, beside /usr: programs and libraries, as directories or as links into it. */
const programs = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
const linker = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

/** What the OCI driver is asked for in the instance's stead. Makes the jail's root, `<dir>/jail`. */
export async function jailRequest(
  request: PrepareRequest,
  parts: JailParts,
  verb: "run" | "keep" = "run",
): Promise<PrepareRequest> {
  return await jailOf(request, {
    argv: [inJail.vmm, verb, inJail.spec],
    mounts: [...machineMounts(parts), ...shareMounts(parts.shares)],
    shares: parts.shares,
    kvm: parts.kvm,
    resources: jailResources(request.spec.resources),
  });
}

/** What is in a jail beside the host's programs. */
export interface Jail {
  readonly argv: readonly string[];
  readonly mounts: readonly ResolvedMount[];
  /** What of that virtiofsd serves, which has to have its way with it. */
  readonly shares?: readonly Share[];
  /** Whether /dev/kvm is handed through. */
  readonly kvm: boolean;
  /** Limits of everything in it. */
  readonly resources: ResourceSpec;
}

/** A jail with the namespaces, control group, log and terminal of the instance. Makes its root, `<dir>/jail`. */
export async function jailOf(request: PrepareRequest, jail: Jail): Promise<PrepareRequest> {
  const { spec } = request;
  const root = join(request.dir, "jail");
  await mkdir(root, { recursive: true, mode: 0o755 });
  const { shares = [] } = jail;
  return {
    ...request,
    rootfs: root,
    mounts: [...hostPrograms(root), ...jail.mounts],
    ...(shares.length > 0 ? { syscalls: shareSyscalls } : {}),
    namespaces: { ...request.namespaces, pid: "private", ipc: "private", uts: "private" },
    spec: {
      ...spec,
      process: {
        ...spec.process,
        entrypoint: [...jail.argv],
        cmd: [],
        env: [],
        user: "",
        groupAdd: [],
        workingDir: "/",
        init: false,
      },
      mounts: [],
      devices: jail.kvm ? [device("/dev/net/tun"), device("/dev/kvm")] : [device("/dev/net/tun")],
      deviceCgroupRules: [],
      security: {
        privileged: false,
        capAdd: ["NET_ADMIN", ...(shares.length > 0 ? shareCapabilities : [])],
        capDrop: ["ALL"],
        noNewPrivileges: true,
        seccomp: "default",
        maskedPaths: null,
        readonlyPaths: null,
        readonlyRootfs: true,
        otherOptions: [],
      },
      namespaces: { pid: "", ipc: "", uts: "", cgroup: "", user: "" },
      sysctls: {},
      shmSize: 0,
      ulimits: [],
      oomScoreAdj: Math.max(0, spec.oomScoreAdj),
      resources: jail.resources,
      domainname: "",
      annotations: {},
    },
  };
}

function hostPrograms(root: string): readonly ResolvedMount[] {
  const mounts = [readOnly("/usr", "/usr")];
  for (const name of programs) {
    const path = `/${name}`;
    if (!existsSync(path)) continue;
    const link = linkTarget(path);
    if (link === undefined) mounts.push(readOnly(path, path));
    else if (linkTarget(join(root, name)) === undefined) symlinkSync(link, join(root, name));
  }
  for (const path of linker) if (existsSync(path)) mounts.push(readOnly(path, path));
  return mounts;
}

function machineMounts(parts: JailParts): readonly ResolvedMount[] {
  return [
    readOnly(parts.vmm, inJail.vmm),
    readOnly(parts.spec, inJail.spec),
    readOnly(parts.kernel, inJail.kernel),
    readOnly(parts.initrd, inJail.initrd),
    readOnly(parts.image, inJail.image),
    readOnly(parts.blank, inJail.blank),
    bind(parts.scratch, inJail.scratch, "rw"),
    bind(parts.runDir, inJail.run, "rw"),
    ...(parts.template === undefined ? [] : [bind(parts.template.directory, inJail.template, parts.template.access)]),
  ];
}

/** As a container would have them, but for the place. */
function shareMounts(shares: readonly Share[]): readonly ResolvedMount[] {
  return shares.map(({ name, mount }) => ({ ...mount, target: `${sharesRoot}/${name}` }));
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // A directory.
  }
}

export const readOnly = (source: string, target: string) => bind(source, target, "ro");

export function bind(source: string, target: string, access: "ro" | "rw"): ResolvedMount {
  const recursive = statSync(source).isDirectory() ? "rbind" : "bind";
  return { type: "bind", source, target, options: [recursive, access, "rprivate"] };
}

function device(path: string): DeviceSpec {
  return { pathOnHost: path, pathInContainer: path, permissions: "rwm" };
}
