/** `berth machine image build`: whatever can be made into a machine's disk. */
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { newId } from "../../../base/ids.ts";
import { type CliContext, defineCommand, flag, list, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { drawProgress } from "../../render/progress.ts";
import { parseSize } from "../../render/units.ts";
import { build as buildImage } from "../image/build.ts";

const name = "machine image build";

export const build = defineCommand({
  arguments: "[SOURCE]",
  help: `SOURCE is a distribution's release (debian:bookworm), which is installed from its mirror with the cloud kernel, systemd, cloud-init,
the guest agent and an SSH server; or an image that is here. With --file, it is the directory of a Dockerfile, whose result becomes a
machine's disk; with --disk, none is given. The result is an image named machine/SOURCE: berth images shows it, push and pull move it.`,
  options: {
    tag: text("NAME[:TAG]", "Name the image", "t"),
    file: text("DOCKERFILE", "Build this Dockerfile first", "f"),
    distribution: flag(
      "SOURCE is a distribution's release, also where it is not known and there is an image of that name",
    ),
    disk: text("FILE", "Make it of a disk: qcow2, raw, vmdk, vdi, vhdx or vhd"),
    size: text("BYTES", "Size of the disk (4 GiB, or what the files need)"),
    package: list("NAME", "Distribution: install a further package"),
    mirror: text("URL", "Distribution: its mirror, instead of this host's"),
    quiet: flag("Only print the image's id", "q"),
  },
  async run(ctx, [source], values) {
    const { tag, quiet } = values;
    const ways = [values.file !== undefined, values.disk !== undefined, values.distribution].filter(Boolean).length;
    if (ways > 1) throw usage("takes one of --file, --disk and --distribution");
    const size = sizeOf(values.size);
    if (values.disk !== undefined) {
      if (source !== undefined) throw usage("takes no SOURCE with --disk");
      return await importDisk(ctx, { file: values.disk, tag, size, quiet });
    }
    if (values.file !== undefined) {
      if (tag === undefined) throw usage("needs --tag with --file");
      return await buildDockerfile(ctx, { file: values.file, directory: source ?? ".", tag, size, quiet });
    }
    if (source === undefined) throw usage("needs a SOURCE: an image, or a distribution such as debian:bookworm");
    const body = {
      source,
      size,
      ...(tag === undefined ? {} : { tag }),
      ...(values.distribution ? { from: "distribution" } : {}),
      packages: values.package,
      ...(values.mirror === undefined ? {} : { mirror: values.mirror }),
    };
    await buildDisk(ctx, body, quiet);
  },
});

interface Job {
  readonly size: number | undefined;
  readonly quiet: boolean;
}

async function buildDisk(ctx: CliContext, body: object, quiet: boolean): Promise<void> {
  const answer = await ctx.client.stream("POST", "/berth/v1/machine-images/build", { body, signal: ctx.signal });
  printId(ctx, await drawProgress(ctx, answer.body, { quiet }), quiet);
}

async function importDisk(
  ctx: CliContext,
  { file, tag, size, quiet }: Job & { readonly file: string; readonly tag: string | undefined },
): Promise<void> {
  const query = { name: basename(file), tag: tag ?? nameOf(file), size };
  const answer = await ctx.client.stream("POST", "/berth/v1/machine-images/import", {
    query,
    body: createReadStream(file),
    headers: { "Content-Type": "application/octet-stream" },
    signal: ctx.signal,
  });
  printId(ctx, await drawProgress(ctx, answer.body, { quiet }), quiet);
}

/** The Dockerfile's image is only on its way: it loses its name again, and stays as the build's cache does. */
async function buildDockerfile(
  ctx: CliContext,
  {
    file,
    directory,
    tag,
    size,
    quiet,
  }: Job & { readonly file: string; readonly directory: string; readonly tag: string },
): Promise<void> {
  const reference = `berth-machine-build:${newId().slice(0, 12)}`;
  const defaults = Object.fromEntries(
    Object.entries(buildImage.options).map(([key, option]) => {
      if (option.kind === "list") return [key, []];
      return [key, option.kind === "flag" ? (option.unlessGiven ?? false) : undefined];
    }),
  );
  await buildImage.run(ctx, [directory], { ...defaults, file, tag: [reference], quiet });
  try {
    await buildDisk(ctx, { source: reference, from: "image", tag, size }, quiet);
  } finally {
    await ctx.client.call("DELETE", `/images/${reference}`, { query: { noprune: true } });
  }
}

function printId(ctx: CliContext, aux: readonly unknown[], quiet: boolean): void {
  if (!quiet) return;
  for (const value of aux) {
    if (typeof value === "object" && value !== null && "ID" in value) ctx.stdout.write(`${String(value.ID)}\n`);
  }
}

/** "Debian 12.vmdk" -> "machine/debian-12". */
function nameOf(file: string): string {
  const plain = basename(file)
    .replace(/\.[^.]*$/, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return `machine/${plain === "" ? "disk" : plain}`;
}

function sizeOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const size = parseSize(given);
  if (size === undefined || size <= 0) throw usage(`takes no --size ${given}: want a size such as 20GiB`);
  return size;
}

function usage(reason: string) {
  return cliErrors.USAGE({ reason: `'berth ${name}' ${reason}`, command: name });
}
