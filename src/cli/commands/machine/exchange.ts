/** Machines as files, in and out. */
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from "node:fs";
import { basename, extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../../../base/errors.ts";
import { MachineExchangeClient } from "../../../client/machine-exchange.ts";
import { ExportFormat } from "../../../schema/machine-exchange-api.ts";
import { defineCommand, flag, list, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { drawProgress } from "../../render/progress.ts";
import { choice } from "./choice.ts";

export const exportCommand = defineCommand({
  arguments: "MACHINE FILE",
  options: {
    format: text("FORMAT", "ova, or a disk's: qcow2, raw, vmdk, vdi, vhdx, vpc; by FILE's ending unless stated"),
    disk: text("NAME", "Which disk, where FILE is one's (the first)"),
    force: flag("Write over FILE", "f"),
  },
  help: "An OVA has the whole machine, which must be off: hardware, disks, checksums; VirtualBox and VMware import it. FILE - is stdout.",
  async run(ctx, [machine = "", file = ""], { format, disk, force }) {
    const wanted = choice(ExportFormat, "format", format ?? formatOf(file));
    if (file !== "-" && existsSync(file) && !force) {
      throw cliErrors.OPTION_INVALID({ option: "force", value: file, reason: "the file is there already" });
    }
    const query = { format: wanted, ...(disk === undefined ? {} : { disk }) };
    const body = await new MachineExchangeClient(ctx.client).export(machine, query, ctx.signal);
    if (file === "-") return await pipeline(body, ctx.stdout, { end: false });
    // Its name is that of a whole file only.
    const draft = `${file}.part`;
    try {
      await pipeline(body, createWriteStream(draft));
      renameSync(draft, file);
    } catch (error) {
      rmSync(draft, { force: true });
      throw cliErrors.FILE_UNREADABLE({ path: file, reason: messageOf(error) }, { cause: error });
    }
    ctx.stdout.write(`${file}\n`);
  },
});

export const importCommand = defineCommand({
  arguments: "FILE",
  options: {
    name: text("NAME", "Name of the machine; that in the description, or the file's"),
    network: list("[THEIRS=]NETWORK", "Network for its cards, or for those on one of the description's networks"),
    start: flag("Switch it on as well"),
    quiet: flag("No progress", "q"),
  },
  help: "FILE is an OVA, or a disk: qcow2, raw, vmdk, vdi, vhdx, vhd; - is stdin. It is sent to the engine, and not needed any more then.",
  async run(ctx, [file = ""], values) {
    if (file === "-" && ctx.stdin.isTTY === true) {
      throw cliErrors.NOT_A_TERMINAL({ reason: "refusing to read a machine from a terminal; give FILE or a pipe" });
    }
    const query = {
      name: values.name ?? "",
      file: file === "-" ? "" : basename(file),
      networks: values.network,
      start: values.start,
    };
    const source = file === "-" ? ctx.stdin : await opened(file);
    const progress = await new MachineExchangeClient(ctx.client).import(query, source, ctx.signal);
    await drawProgress(ctx, progress, { quiet: values.quiet });
  },
});

const byEnding: Readonly<Record<string, string>> = { ".img": "raw", ".vhd": "vpc" };

function formatOf(file: string): string {
  const ending = extname(file).toLowerCase();
  return byEnding[ending] ?? ending.slice(1);
}

async function opened(path: string): Promise<ReturnType<typeof createReadStream>> {
  const stream = createReadStream(path, { highWaterMark: 1024 * 1024 });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.once("ready", resolve);
  stream.once("error", reject);
  try {
    await promise;
    return stream;
  } catch (error) {
    throw cliErrors.FILE_UNREADABLE({ path, reason: messageOf(error) }, { cause: error });
  }
}
