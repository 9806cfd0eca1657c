/** What a container of a machine's files runs: as the image that the machine was made of, where its disk says so (guest/osinit), else a shell. */
import { TarParser } from "../../archive/tar-parser.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { DiskFiles } from "../../instances/qemu/disk-reader.ts";
import { descriptionPath, parseDescription } from "../../osimages/image-command.ts";

const maxBytes = 1024 * 1024;
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** As Dockerfile instructions. The disk is anybody's: what does not fit into one line of them is left out. */
export async function configurationOf(ctx: OpContext, files: DiskFiles, name: string): Promise<readonly string[]> {
  const description = await descriptionOn(ctx, files);
  return [
    ...(description ?? [`ENV PATH=${usualPath}`, 'CMD ["/bin/sh"]']),
    `LABEL io.berth.converted-from=${quoted(name)}`,
  ];
}

async function descriptionOn(ctx: OpContext, files: DiskFiles): Promise<readonly string[] | undefined> {
  const tar = await files.file(ctx, `/${descriptionPath}`);
  if (tar === undefined) return undefined;
  const pieces: Buffer[] = [];
  const handler = {
    entry: () => {},
    data: (chunk: Buffer) => void pieces.push(Buffer.from(chunk)),
    endEntry: () => {},
  };
  const parser = new TarParser(handler, { maxBytes, maxEntries: 1 });
  for await (const chunk of tar) parser.feed(chunk);
  parser.end();
  return instructionsOf(Buffer.concat(pieces));
}

/** Undefined when it names no command. */
export function instructionsOf(description: Buffer): readonly string[] | undefined {
  const command = parseDescription(description);
  if (command === undefined) return undefined;
  const { words, env, user, workingDir, stopSignal } = command;
  const stated = (text: string) => text !== "" && isPlain(text);
  return [
    ...env.flatMap(environment),
    `CMD ${JSON.stringify(words)}`,
    ...(stated(user) ? [`USER ${quoted(user)}`] : []),
    ...(stated(workingDir) ? [`WORKDIR ${quoted(workingDir)}`] : []),
    ...(/^\d+$/.test(stopSignal) ? [`STOPSIGNAL ${stopSignal}`] : []),
  ];
}

function environment(variable: string): readonly string[] {
  const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(variable) ?? [];
  return name === undefined || value === undefined || !isPlain(value) ? [] : [`ENV ${name}=${quoted(value)}`];
}

/** One line of text. */
const isPlain = (text: string) => !/[\p{Cc}]/u.test(text);

/** As one word in which nothing is expanded. */
const quoted = (text: string) => `"${text.replaceAll(/[\\"$]/g, String.raw`\$&`)}"`;
