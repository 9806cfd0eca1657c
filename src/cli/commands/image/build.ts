import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { Readable } from "node:stream";
import { messageOf } from "../../../base/errors.ts";
import { type CliContext, defineCommand, flag, flagOn, integer, list, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { allRegistryAuths } from "../../registry-auth.ts";
import { drawProgress } from "../../render/progress.ts";
import { parseSize } from "../../render/units.ts";
import { pairs, ulimit } from "../container/create-body.ts";
import { packContext, packFile } from "./pack-context.ts";

export const build = defineCommand({
  arguments: "PATH|URL|-",
  options: {
    tag: list("NAME[:TAG]", "Name the image", "t"),
    file: text("FILE", "The Dockerfile (default PATH/Dockerfile)", "f"),
    buildArg: list("NAME=VALUE", "Set a build-time variable"),
    label: list("KEY=VALUE", "Label the image"),
    target: text("STAGE", "Stop at this stage"),
    noCache: flag("Don't use the cache"),
    pull: flag("Always try to pull newer base images"),
    quiet: flag("Only print the image's id", "q"),
    iidfile: text("FILE", "Write the image's id to a file"),
    network: text("MODE", "Network of RUN instructions"),
    addHost: list("HOST:IP", "Add a line to /etc/hosts of RUN instructions"),
    platform: text("OS/ARCH", "Platform of the base images"),
    cacheFrom: list("IMAGE", "Images to take layers from"),
    rm: flagOn("Remove step containers; none is ever kept, also with --rm=false"),
    forceRm: flag("Remove step containers also after a failure"),
    memory: text("BYTES", "Memory limit of RUN instructions", "m"),
    memorySwap: text("BYTES", "Memory and swap limit of RUN instructions; -1 is unlimited swap"),
    cpuShares: integer("N", "Relative CPU weight of RUN instructions", "c"),
    cpuPeriod: integer("MICROSECONDS", "CFS period of RUN instructions"),
    cpuQuota: integer("MICROSECONDS", "CFS quota of RUN instructions"),
    cpusetCpus: text("CPUS", "CPUs that RUN instructions may use: 0-2,4"),
    cpusetMems: text("NODES", "Memory nodes that RUN instructions may use"),
    ulimit: list("NAME=SOFT[:HARD]", "Resource limit of processes in RUN instructions"),
    shmSize: text("BYTES", "Size of /dev/shm in RUN instructions"),
    squash: flag("Join the new layers to one"),
  },
  async run(ctx, [where = ""], values) {
    const context = await openContext(ctx, where, values.file);
    const query = {
      t: values.tag,
      dockerfile: context.dockerfile,
      remote: context.remote,
      buildargs: JSON.stringify(buildArgs(values.buildArg, ctx.environment)),
      labels: JSON.stringify(pairs(values.label, "label")),
      target: values.target,
      nocache: values.noCache || undefined,
      pull: values.pull || undefined,
      q: values.quiet || undefined,
      rm: values.rm,
      forcerm: values.forceRm || undefined,
      networkmode: values.network,
      extrahosts: values.addHost.length > 0 ? values.addHost.join(",") : undefined,
      platform: values.platform,
      cachefrom: values.cacheFrom.length > 0 ? JSON.stringify(values.cacheFrom) : undefined,
      memory: bytes(values.memory, "memory"),
      memswap: values.memorySwap === "-1" ? -1 : bytes(values.memorySwap, "memory-swap"),
      cpushares: values.cpuShares,
      cpuperiod: values.cpuPeriod,
      cpuquota: values.cpuQuota,
      cpusetcpus: values.cpusetCpus,
      cpusetmems: values.cpusetMems,
      ulimits: values.ulimit.length > 0 ? JSON.stringify(values.ulimit.map(ulimit)) : undefined,
      shmsize: bytes(values.shmSize, "shm-size"),
      squash: values.squash || undefined,
    };
    const answer = await ctx.client.stream("POST", "/build", {
      query,
      body: context.body,
      headers: await allRegistryAuths(ctx),
      signal: ctx.signal,
    });
    const aux = await drawProgress(ctx, answer.body);
    const id = aux
      .flatMap((value) => (typeof value === "object" && value !== null && "ID" in value ? [String(value.ID)] : []))
      .at(-1);
    if (values.iidfile !== undefined && id !== undefined) writeFileSync(values.iidfile, id);
  },
});

interface OpenedContext {
  readonly body?: Readable;
  readonly remote?: string;
  readonly dockerfile?: string;
}

async function openContext(ctx: CliContext, where: string, file: string | undefined): Promise<OpenedContext> {
  if (where === "-") return await stdinContext(ctx, file);
  if (/^(https?|git):\/\/|^git@/.test(where))
    return { remote: where, ...(file === undefined ? {} : { dockerfile: file }) };
  if (!existsSync(where) || !statSync(where).isDirectory())
    throw cliErrors.FILE_UNREADABLE({ path: where, reason: "the build context is no directory" });
  const given = file === undefined ? resolve(where, "Dockerfile") : resolve(file);
  const inside = relative(resolve(where), given);
  const outside = inside.startsWith("..");
  let dockerfile: Buffer | undefined;
  if (file === "-" || outside || file !== undefined || existsSync(given)) {
    try {
      dockerfile = file === "-" ? await readStdin(ctx) : readFileSync(given);
    } catch (error) {
      throw cliErrors.FILE_UNREADABLE({ path: file ?? given, reason: messageOf(error) }, { cause: error });
    }
  } else throw cliErrors.FILE_UNREADABLE({ path: given, reason: "there is no Dockerfile; name it with -f" });
  // A Dockerfile from elsewhere travels under a name that no file of the context has.
  const name = file === "-" || outside ? `.dockerfile.${process.pid}` : inside;
  return {
    body: packContext(resolve(where), name, file === "-" || outside ? dockerfile : undefined),
    dockerfile: name,
  };
}

/** From stdin comes a tar, plain or compressed, or a Dockerfile alone. */
async function stdinContext(ctx: CliContext, file: string | undefined): Promise<OpenedContext> {
  const bytes = await readStdin(ctx);
  if (looksLikeArchive(bytes))
    return { body: Readable.from([bytes]), ...(file === undefined ? {} : { dockerfile: file }) };
  return { body: packFile("Dockerfile", bytes), dockerfile: "Dockerfile" };
}

/** gzip, bzip2, xz, zstd: how a compressed archive begins, in hexadecimal. */
const compressedMagic = ["1f8b", "425a68", "fd377a585a", "28b52ffd"];

function looksLikeArchive(bytes: Buffer): boolean {
  const start = bytes.subarray(0, 6).toString("hex");
  return (
    compressedMagic.some((magic) => start.startsWith(magic)) || bytes.subarray(257, 262).toString("latin1") === "ustar"
  );
}

async function readStdin(ctx: CliContext): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of ctx.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function buildArgs(words: readonly string[], ours: CliContext["environment"]): Record<string, string | null> {
  const entries = words.map((word): [string, string | null] => {
    const at = word.indexOf("=");
    return at === -1 ? [word, ours[word] ?? null] : [word.slice(0, at), word.slice(at + 1)];
  });
  return Object.fromEntries(entries);
}

function bytes(value: string | undefined, option: string): number | undefined {
  if (value === undefined) return undefined;
  const size = parseSize(value);
  if (size === undefined) throw cliErrors.OPTION_INVALID({ option, value, reason: "a size such as 512m is needed" });
  return size;
}
