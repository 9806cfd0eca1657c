import { isBerthError, messageOf } from "../../base/errors.ts";
import type { Query } from "../../client/engine-client.ts";
import { type CliContext, defineCommand, flag, text } from "../command.ts";
import { cliErrors } from "../errors.ts";
import { printObject } from "../render/listing.ts";

const kinds = ["container", "image", "network", "volume"] as const;
type Kind = (typeof kinds)[number];

const path: Readonly<Record<Kind, (name: string) => string>> = {
  container: (name) => `/containers/${name}/json`,
  image: (name) => `/images/${name}/json`,
  network: (name) => `/networks/${name}`,
  volume: (name) => `/volumes/${name}`,
};

const options = {
  format: text("TEMPLATE", "A Go template, or json", "f"),
  size: flag("Show sizes (containers)", "s"),
  verbose: flag("More (networks)", "v"),
};

/** `berth KIND inspect`. */
const inspectKind = (kind: Kind) =>
  defineCommand({
    arguments: `${kind.toUpperCase()} [${kind.toUpperCase()}...]`,
    options,
    run: (ctx, words, values) => inspectAll(ctx, words, values, (name) => lookUp(ctx, [kind], name, values)),
  });

export const container = inspectKind("container");
export const image = inspectKind("image");
export const network = inspectKind("network");
export const volume = inspectKind("volume");

/** `berth inspect`: whatever has that name. */
export const any = defineCommand({
  arguments: "NAME|ID [NAME|ID...]",
  options: { ...options, type: text("KIND", "container, image, network or volume") },
  async run(ctx, words, values) {
    const wanted = kinds.filter((kind) => values.type === undefined || values.type === kind);
    if (wanted.length === 0)
      throw cliErrors.OPTION_INVALID({ option: "type", value: values.type ?? "", reason: kinds.join(", ") });
    await inspectAll(ctx, words, values, (name) => lookUp(ctx, wanted, name, values));
  },
});

interface Asked {
  readonly size: boolean;
  readonly verbose: boolean;
}

/** What each kind can tell besides. */
const more: Readonly<Record<Kind, (asked: Asked) => Query>> = {
  container: ({ size }) => (size ? { size } : {}),
  image: () => ({}),
  network: ({ verbose }) => (verbose ? { verbose } : {}),
  volume: () => ({}),
};

async function lookUp(ctx: CliContext, wanted: readonly Kind[], name: string, values: Asked): Promise<unknown> {
  for (const kind of wanted) {
    try {
      return await ctx.client.call("GET", path[kind](name), { query: more[kind](values) });
    } catch (error) {
      if (!isBerthError(error) || error.status !== 404 || wanted.length === 1) throw error;
    }
  }
  throw cliErrors.USAGE({ reason: `No such object: ${name}`, command: "inspect" });
}

async function inspectAll(
  ctx: CliContext,
  words: readonly string[],
  values: { readonly format: string | undefined },
  get: (name: string) => Promise<unknown>,
): Promise<void> {
  const found: unknown[] = [];
  for (const name of words) {
    try {
      found.push(await get(name));
    } catch (error) {
      ctx.stderr.write(`Error: ${messageOf(error)}\n`);
      ctx.setExitCode(1);
    }
  }
  if (values.format === undefined || values.format === "json") printObject(ctx, found, values.format);
  else for (const value of found) printObject(ctx, value, values.format);
}
