/** Images in and out: registries and archives. */
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../../../base/errors.ts";
import { defineCommand, flag, list, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { registryAuth } from "../../registry-auth.ts";
import { drawProgress } from "../../render/progress.ts";
import { splitReference } from "../container/change.ts";
import { pullImage } from "./pull-image.ts";

export const pull = defineCommand({
  arguments: "NAME[:TAG|@DIGEST]",
  options: {
    allTags: flag("Every tag of the repository", "a"),
    platform: text("OS/ARCH", "Platform to choose"),
    quiet: flag("Only print the reference", "q"),
  },
  async run(ctx, [reference = ""], values) {
    if (!values.quiet && !reference.includes("@") && splitReference(reference).tag === undefined && !values.allTags)
      ctx.stdout.write("Using default tag: latest\n");
    await pullImage(ctx, reference, values);
    ctx.stdout.write(`${reference}\n`);
  },
});

export const push = defineCommand({
  arguments: "NAME[:TAG]",
  options: {
    allTags: flag("Every tag of the repository", "a"),
    platform: text("OS/ARCH", "Platform to push"),
    quiet: flag("Print nothing but errors", "q"),
  },
  async run(ctx, [reference = ""], values) {
    const { repo, tag } = splitReference(reference);
    // The engine answers 400 without the header, also for a registry that wants no credentials.
    const headers = {
      "X-Registry-Auth": Buffer.from("{}").toString("base64url"),
      ...(await registryAuth(ctx, reference)),
    };
    const query = { tag: values.allTags ? undefined : (tag ?? "latest"), platform: values.platform };
    const { body } = await ctx.client.stream("POST", `/images/${repo}/push`, { query, headers });
    await drawProgress(ctx, body, { quiet: values.quiet });
  },
});

export const load = defineCommand({
  arguments: "",
  options: {
    input: text("FILE", "Read a file instead of stdin", "i"),
    quiet: flag("No progress", "q"),
    platform: text("OS/ARCH", "Platform to load"),
  },
  async run(ctx, _words, { input, quiet, platform }) {
    if (input === undefined && ctx.stdin.isTTY === true)
      throw cliErrors.NOT_A_TERMINAL({ reason: "requested load from stdin, but stdin is a terminal; use -i FILE" });
    const body = input === undefined ? ctx.stdin : createReadStream(input);
    const answer = await ctx.client.stream("POST", "/images/load", { query: { quiet, platform }, body });
    await drawProgress(ctx, answer.body);
  },
});

export const save = defineCommand({
  arguments: "IMAGE [IMAGE...]",
  options: {
    output: text("FILE", "Write to a file instead of stdout", "o"),
    platform: text("OS/ARCH", "Platform to save"),
  },
  async run(ctx, words, { output, platform }) {
    if (output === undefined && ctx.stdout.isTTY === true)
      throw cliErrors.NOT_A_TERMINAL({ reason: "refusing to write a tar to a terminal; use -o FILE or a pipe" });
    const { body } = await ctx.client.stream("GET", "/images/get", { query: { names: words, platform } });
    try {
      await pipeline(body, output === undefined ? ctx.stdout : createWriteStream(output), {
        end: output !== undefined,
      });
    } catch (error) {
      throw cliErrors.FILE_UNREADABLE({ path: output ?? "stdout", reason: messageOf(error) }, { cause: error });
    }
  },
});

export const bootstrap = defineCommand({
  arguments: "DISTRIBUTION:RELEASE",
  help: "Makes a base image from the distribution's package mirror, with this host's apt sources and keys. Needs mmdebstrap.",
  options: {
    as: text("NAME[:TAG]", "Tag it as this instead (a stand-in where no registry can be reached)"),
    include: list("PACKAGE", "Install a further package"),
    mirror: text("URL", "Package mirror, instead of the host's"),
  },
  async run(ctx, [reference], values) {
    const { body } = await ctx.client.stream("POST", "/berth/images/bootstrap", {
      body: {
        reference,
        ...(values.as && { as: values.as }),
        include: values.include,
        ...(values.mirror && { mirror: values.mirror }),
      },
    });
    await drawProgress(ctx, body);
  },
});
