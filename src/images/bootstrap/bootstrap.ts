import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../../base/ids.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { ProgressSink } from "../../base/progress.ts";
import { mkdir, rm, writeFile } from "../../host/files.ts";
import type { Host } from "../../host/host.ts";
import type { ImageRecord, Platform } from "../../schema/image.ts";
import { imageErrors } from "../errors.ts";
import type { ImageRoom } from "../image-room.ts";
import type { BootstrapRequest } from "../image-service.ts";
import { storeRootfs } from "../import.ts";
import { formatFamiliar, parseReference, withDefaultTag } from "../reference.ts";
import { readBody, type Transport } from "../registry/transport.ts";
import { throttled } from "../throttled.ts";
import { type AptSource, formatSource, readHostSources, readSecretHosts } from "./apt-sources.ts";
import { hostRelease, type Release, releaseOf, sourcesOf, sourcesOfMirror } from "./distribution.ts";
import { type MmdebstrapRun, startMmdebstrap } from "./mmdebstrap.ts";
import { SOURCES_FILE, writeRootOverlay } from "./root-overlay.ts";

export interface BootstrapParts {
  readonly host: Pick<Host, "processes" | "kernel">;
  readonly transport: Transport;
  /** A directory for trees in the making, on the data root's file system. */
  readonly workDir: string;
  /** The host's /etc. */
  readonly etc: string;
}

const PREFIX = "bootstrap-";
const RELEASE_LIMIT = 1 << 20;
const DEBIAN_ARCHITECTURES: Readonly<Record<string, string>> = {
  "386": "i386",
  arm: "armhf",
  ppc64le: "ppc64el",
  mips64le: "mips64el",
};

/** A base image from the distribution's mirror: mmdebstrap with the host's apt sources and trust, as one layer. */
export async function bootstrapImage(
  ctx: OpContext,
  room: ImageRoom,
  parts: BootstrapParts,
  request: BootstrapRequest,
  progress: ProgressSink,
): Promise<ImageRecord> {
  const wanted = withDefaultTag(parseReference(request.reference));
  const tag = request.as === undefined ? wanted : withDefaultTag(parseReference(request.as));
  for (const name of request.include ?? []) checkPackageName(name);
  if (parts.host.processes.which("mmdebstrap") === undefined) {
    throw imageErrors.BOOTSTRAP_UNAVAILABLE({ reason: "mmdebstrap is not installed" });
  }
  const apt = join(parts.etc, "apt");
  const host = hostRelease(await readText(join(parts.etc, "os-release")));
  const release = releaseOf(wanted, host);
  const sources =
    request.mirror === undefined
      ? sourcesOf(release, host, await readHostSources(apt))
      : sourcesOfMirror(release, checkMirror(request.mirror));
  const mirror = withoutPassword(sources[0]?.uri ?? "");
  const name = formatFamiliar(wanted);
  progress({ status: `Bootstrapping ${name} from ${mirror}` });
  const created = await releaseDate(ctx, parts.transport, sources[0], room.clock.now());

  const directory = join(parts.workDir, `${PREFIX}${newId().slice(0, 12)}`);
  let run: MmdebstrapRun | undefined;
  try {
    run = await start(ctx, room, parts, { directory, release, sources, created, request, name, mirror, progress });
    const onAbort = () => void run?.stop();
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    const report = throttled((current) => progress({ id: "rootfs", status: "Storing", current }));
    const record = await storeRootfs(ctx, room, run.tar, {
      reference: tag,
      runConfig: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: ["bash"] },
      platform: room.platform,
      created: created.toISOString(),
      history: [
        { created_by: `berth image bootstrap ${name}`, comment: `mmdebstrap of ${release.suite} from ${mirror}` },
        { created_by: 'CMD ["bash"]', empty_layer: true },
      ],
      onProgress: (bytes) => report(bytes, undefined),
    });
    ctx.signal.removeEventListener("abort", onAbort);
    room.events.changed("import", record);
    progress({ status: `Bootstrapped ${formatFamiliar(tag)}: ${record.id}` });
    return record;
  } finally {
    await run?.stop();
    await removeTree(ctx, parts, directory);
  }
}

/** Removes trees that a killed engine left half made. */
export async function removeBootstrapRemains(
  ctx: OpContext,
  parts: BootstrapParts,
  names: readonly string[],
): Promise<void> {
  for (const name of names.filter((name) => name.startsWith(PREFIX)))
    await removeTree(ctx, parts, join(parts.workDir, name));
}

async function start(
  ctx: OpContext,
  room: ImageRoom,
  parts: BootstrapParts,
  job: {
    readonly directory: string;
    readonly release: Release;
    readonly sources: readonly AptSource[];
    readonly created: Date;
    readonly request: BootstrapRequest;
    readonly name: string;
    readonly mirror: string;
    readonly progress: ProgressSink;
  },
): Promise<MmdebstrapRun> {
  const { directory, sources, progress } = job;
  const overlay = join(directory, "overlay");
  const temporary = join(directory, "tmp");
  await mkdir(overlay, { recursive: true, mode: 0o755 });
  await mkdir(temporary, { mode: 0o755 });
  await writeRootOverlay(overlay, sources, await readSecretHosts(join(parts.etc, "apt")));
  const { lines, sourcesFile } = await writeSources(directory, sources);
  const host = await hostAptSettings(ctx, parts.host.processes);
  ctx.log.debug({ sources: lines.map(withoutPassword) }, "bootstrapping");
  return await startMmdebstrap(ctx, parts.host.processes, {
    suite: job.release.suite,
    sourcesFile,
    overlay,
    temporary,
    architecture: debianArchitecture(room.platform),
    include: job.request.include ?? [],
    aptOptions: host.options,
    environment: host.environment,
    sourceDateEpoch: Math.floor(job.created.getTime() / 1000),
    onLine: (line) => progress({ status: line.replace(/^I: /, "") }),
    fail: (reason) =>
      imageErrors.BOOTSTRAP_FAILED({ reference: job.name, mirror: job.mirror, reason: withoutPassword(reason) }),
  });
}

/** Readable by root only: a URI may hold a password. Keys that are given in a source itself become files. */
async function writeSources(
  directory: string,
  sources: readonly AptSource[],
): Promise<{ readonly lines: readonly string[]; readonly sourcesFile: string }> {
  const lines: string[] = [];
  for (const [index, source] of sources.entries()) {
    if (source.signedBy !== undefined && "key" in source.signedBy) {
      const path = join(directory, `key-${index}.asc`);
      await writeFile(path, source.signedBy.key, { mode: 0o644 });
      lines.push(formatSource({ ...source, signedBy: { path } }));
    } else {
      lines.push(formatSource(source));
    }
  }
  const sourcesFile = join(directory, SOURCES_FILE);
  await writeFile(sourcesFile, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
  return { lines, sourcesFile };
}

/**
 * What the host's apt needs to reach its mirrors, the image's needs as well: old dates of frozen mirrors, a proxy. A proxy with a
 * password is used, but not written into the image.
 */
async function hostAptSettings(
  ctx: OpContext,
  processes: Host["processes"],
): Promise<{ readonly options: readonly string[]; readonly environment: Readonly<Record<string, string>> }> {
  const dump = await processes.run(ctx, { argv: ["apt-config", "dump", "--format", "%F %v%n"] });
  const value = (name: string) => new RegExp(`^${name} (.+)$`, "m").exec(dump.stdout)?.[1];
  const options: string[] = [];
  const environment: Record<string, string> = {};
  // A host without it trusts its mirror to be up to date; then a stale one is an error worth seeing.
  if (/^(?:false|no|off|0)$/i.test(value("Acquire::Check-Valid-Until") ?? "")) {
    options.push('Acquire::Check-Valid-Until "false"');
  }
  for (const scheme of ["http", "https"]) {
    const proxy = value(`Acquire::${scheme}::Proxy`);
    if (proxy === undefined) continue;
    if (proxy.includes("@")) environment[`${scheme}_proxy`] = proxy;
    else options.push(`Acquire::${scheme}::Proxy "${proxy}"`);
  }
  for (const name of ["http_proxy", "https_proxy", "no_proxy"]) {
    const inherited = process.env[name];
    if (inherited !== undefined) environment[name] ??= inherited;
  }
  return { options, environment };
}

/**
 * When the suite was last published: the image's date, and that of its newest file, so that the same mirror gives the same image.
 * A mirror that does not say (a file, one behind apt's proxy) gets today.
 */
async function releaseDate(
  ctx: OpContext,
  transport: Transport,
  source: AptSource | undefined,
  now: number,
): Promise<Date> {
  const today = new Date(now - (now % 86_400_000));
  if (source === undefined || !/^https?:/.test(source.uri) || !URL.canParse(source.uri)) return today;
  try {
    const url = new URL(`${source.uri.replace(/\/$/, "")}/dists/${source.suite}/Release`);
    const response = await transport.send(ctx, { method: "GET", url, headers: {}, tls: { verify: true } });
    const body = response.status === 200 ? await readBody(response, RELEASE_LIMIT) : undefined;
    response.body.destroy();
    const date = Date.parse(/^Date: (.+)$/m.exec(body?.toString("utf8") ?? "")?.[1] ?? "");
    return Number.isNaN(date) ? today : new Date(date);
  } catch (error) {
    ctx.signal.throwIfAborted();
    ctx.log.debug({ error: String(error) }, "the mirror's release date is not known");
    return today;
  }
}

/** mmdebstrap's mounts end with its own namespace; should one have stayed in ours, removing must not reach through it. */
async function removeTree(ctx: OpContext, { host }: BootstrapParts, directory: string): Promise<void> {
  const quiet = { log: ctx.log, signal: new AbortController().signal };
  const mounts = (await host.kernel.mounts(directory)).toReversed();
  await host.kernel.apply(
    quiet,
    mounts.map(({ target }) => ({ op: "unmount", target, detach: true })),
  );
  await rm(directory, { recursive: true, force: true });
}

function debianArchitecture(platform: Platform): string {
  return DEBIAN_ARCHITECTURES[platform.architecture] ?? platform.architecture;
}

function checkPackageName(name: string): void {
  if (/^[a-z0-9][a-z0-9+.-]+$/.test(name)) return;
  throw imageErrors.BOOTSTRAP_UNKNOWN_DISTRIBUTION({ reference: name, reason: "it is no package's name" });
}

function checkMirror(mirror: string): string {
  if (URL.canParse(mirror) && /^(?:https?|file|copy):$/.test(new URL(mirror).protocol) && !/\s/.test(mirror))
    return mirror;
  throw imageErrors.BOOTSTRAP_UNKNOWN_DISTRIBUTION({ reference: mirror, reason: "it is no mirror's URL" });
}

function withoutPassword(text: string): string {
  return text.replace(/(\w+:\/\/)[^/@\s]+@/g, "$1");
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    // No os-release: then the host is no distribution that we know.
    return "";
  }
}
