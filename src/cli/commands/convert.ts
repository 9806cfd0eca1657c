/** `berth convert`: containers and images to machines, and machines' disks to images. */
import { resolve } from "node:path";
import type { ConvertToImageBody, ConvertToMachineBody } from "../../schema/machine-convert-api.ts";
import { type CliContext, defineCommand, flag, list, type OptionValues, text } from "../command.ts";
import { cliErrors } from "../errors.ts";
import { drawProgress } from "../render/progress.ts";
import { choice } from "./machine/choice.ts";
import { machineBody, machineOptions } from "./machine/create.ts";

const kinds = { anyOf: [{ const: "machine" }, { const: "image" }] } as const;

const options = {
  to: text("KIND", "machine or image: what SOURCE is to become"),
  name: text("NAME", "Name of the result; the same as the second argument"),
  keepImage: text("NAME[:TAG]", "To machine: keep its disk as an image, for further machines"),
  sourceDisk: text("DISK", "To image: which of the machine's disks (the first)"),
  change: list("INSTRUCTION", "To image: set this Dockerfile instruction in its configuration", "c"),
  ...machineOptions,
  quiet: flag("No progress; print the result's id", "q"),
} as const;

type Values = OptionValues<typeof options>;

export const convert = defineCommand({
  arguments: "SOURCE [NAME[:TAG]]",
  options,
  help: `To machine: SOURCE is a container, as it is now, or an image that is here. It gets a kernel and a boot loader, and an init where it has
none; options of 'berth machine create' say what hardware. To image: SOURCE is a machine, which may run, or a disk's file (a path with
a slash in it). The root file system on its disk becomes an image for containers and for --vm.`,
  async run(ctx, [source = "", second], values) {
    if (values.to === undefined) throw usage("needs --to machine or --to image");
    if (second !== undefined && values.name !== undefined)
      throw usage("takes a NAME once: --name, or the second argument");
    const name = second ?? values.name;
    switch (choice(kinds, "to", values.to)) {
      case "machine":
        return await toMachine(ctx, source, name ?? "", values);
      case "image":
        if (name === undefined) throw usage("needs a NAME for the image");
        return await toImage(ctx, source, name, values);
    }
  },
});

async function toMachine(ctx: CliContext, source: string, name: string, values: Values): Promise<void> {
  refuse(values, ["sourceDisk", "change"], "machine");
  const body: ConvertToMachineBody = {
    ...machineBody(name, values),
    source,
    ...(values.keepImage === undefined ? {} : { keepImage: values.keepImage }),
  };
  const [made] = await post(ctx, "machine", body, values.quiet);
  if (typeof made === "object" && made !== null && "name" in made) ctx.stdout.write(`${String(made.name)}\n`);
}

async function toImage(ctx: CliContext, source: string, reference: string, values: Values): Promise<void> {
  refuse(values, ["keepImage", ...Object.keys(machineOptions)], "image");
  const body: ConvertToImageBody = {
    ...(source.includes("/") ? { diskFile: resolve(source) } : { machine: source }),
    ...(values.sourceDisk === undefined ? {} : { disk: values.sourceDisk }),
    reference,
    changes: [...values.change],
  };
  const [made] = await post(ctx, "image", body, values.quiet);
  const hasId = typeof made === "object" && made !== null && "ID" in made;
  if (values.quiet && hasId) ctx.stdout.write(`${String(made.ID)}\n`);
}

async function post(ctx: CliContext, kind: string, body: object, quiet: boolean): Promise<readonly unknown[]> {
  const answer = await ctx.client.stream("POST", `/berth/v1/convert/${kind}`, { body, signal: ctx.signal });
  return await drawProgress(ctx, answer.body, { quiet });
}

/** What says nothing about this conversion is not silently passed over. */
function refuse(values: Values, names: readonly string[], kind: string): void {
  const given = Object.entries(values).find(
    ([name, value]) =>
      names.includes(name) && (Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false),
  );
  if (given === undefined) return;
  const option = given[0].replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw usage(`takes no --${option} with --to ${kind}`);
}

function usage(reason: string) {
  return cliErrors.USAGE({ reason: `'berth convert' ${reason}`, command: "convert" });
}
