/** Making images and archives of containers, and changing their limits. */
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { defineCommand, flag, list, text } from "../../command.ts";
import { forEachWord } from "../../each.ts";
import { cliErrors } from "../../errors.ts";
import { filtersQuery } from "../../render/filters.ts";
import { decimalSize } from "../../render/units.ts";
import { confirm } from "../../terminal/confirm.ts";
import { resourceBody, restartPolicy, ulimit } from "./create-body.ts";
import { createOptions } from "./create-options.ts";

export const commit = defineCommand({
  arguments: "CONTAINER [REPOSITORY[:TAG]]",
  options: {
    author: text("NAME", "Author of the image", "a"),
    change: list("INSTRUCTION", "Dockerfile instruction to apply", "c"),
    message: text("TEXT", "Message of the layer", "m"),
    pause: text("YES", "Pause it meanwhile (default true)", "p"),
  },
  async run(ctx, [container, reference = ""], values) {
    const { repo, tag } = splitReference(reference);
    const query = {
      container,
      repo,
      tag,
      author: values.author,
      comment: values.message,
      changes: values.change,
      pause: values.pause !== "false",
    };
    const { Id } = await ctx.client.call<{ Id: string }>("POST", "/commit", { query, body: {} });
    ctx.stdout.write(`${Id}\n`);
  },
});

export const exportTar = defineCommand({
  arguments: "CONTAINER",
  options: { output: text("FILE", "Write to a file instead of stdout", "o") },
  async run(ctx, [name], { output }) {
    if (output === undefined && ctx.stdout.isTTY === true)
      throw cliErrors.NOT_A_TERMINAL({ reason: "refusing to write a tar to a terminal; use -o FILE or a pipe" });
    const { body } = await ctx.client.stream("GET", `/containers/${name}/export`);
    await pipeline(body, output === undefined ? ctx.stdout : createWriteStream(output), { end: output !== undefined });
  },
});

export const importTar = defineCommand({
  arguments: "FILE|URL|- [REPOSITORY[:TAG]]",
  options: {
    change: list("INSTRUCTION", "Dockerfile instruction to apply", "c"),
    message: text("TEXT", "Message of the image", "m"),
    platform: text("OS/ARCH", "Platform of the image"),
  },
  async run(ctx, [source = "", reference = ""], { change, message, platform }) {
    const { repo, tag } = splitReference(reference);
    const isUrl = /^https?:\/\//.test(source);
    const query = { fromSrc: isUrl ? source : "-", repo, tag, changes: change, message, platform };
    const body = isUrl ? undefined : source === "-" ? ctx.stdin : createReadStream(source);
    const answer = await ctx.client.stream("POST", "/images/create", { query, body });
    const { drawProgress } = await import("../../render/progress.ts");
    await drawProgress(ctx, answer.body);
  },
});

export const update = defineCommand({
  arguments: "CONTAINER [CONTAINER...]",
  options: {
    memory: createOptions.memory,
    memoryReservation: createOptions.memoryReservation,
    memorySwap: createOptions.memorySwap,
    cpus: createOptions.cpus,
    cpuShares: createOptions.cpuShares,
    cpuPeriod: createOptions.cpuPeriod,
    cpuQuota: createOptions.cpuQuota,
    cpusetCpus: createOptions.cpusetCpus,
    cpusetMems: createOptions.cpusetMems,
    pidsLimit: createOptions.pidsLimit,
    blkioWeight: createOptions.blkioWeight,
    restart: createOptions.restart,
    ulimit: createOptions.ulimit,
  },
  help: "Ulimits belong to processes: a container has the new ones from its next start on.",
  async run(ctx, words, values) {
    const body = {
      ...resourceBody(values),
      ...(values.restart === undefined ? {} : { RestartPolicy: restartPolicy(values.restart) }),
      ...(values.ulimit.length === 0 ? {} : { Ulimits: values.ulimit.map(ulimit) }),
    };
    if (Object.keys(body).length === 0)
      throw cliErrors.USAGE({
        reason: "you must provide one or more flags when using this command.",
        command: "update",
      });
    await forEachWord(ctx, words, async (name) => {
      const { Warnings } = await ctx.client.call<{ Warnings: readonly string[] | null }>(
        "POST",
        `/containers/${name}/update`,
        { body },
      );
      for (const warning of Warnings ?? []) ctx.stderr.write(`WARNING: ${warning}\n`);
    });
  },
});

export const prune = defineCommand({
  arguments: "",
  options: { force: flag("Don't ask", "f"), filter: list("NAME=VALUE", "until, label") },
  async run(ctx, _words, { force, filter }) {
    if (!force && !(await confirm(ctx, "This will remove all stopped containers."))) return;
    const { ContainersDeleted, SpaceReclaimed } = await ctx.client.call<{
      ContainersDeleted: readonly string[] | null;
      SpaceReclaimed: number;
    }>("POST", "/containers/prune", {
      query: { filters: filtersQuery(filter) },
    });
    if ((ContainersDeleted ?? []).length > 0)
      ctx.stdout.write(`Deleted Containers:\n${(ContainersDeleted ?? []).join("\n")}\n\n`);
    ctx.stdout.write(`Total reclaimed space: ${decimalSize(SpaceReclaimed)}\n`);
  },
});

/** "host:5000/name:tag" -> its repository and tag. */
export function splitReference(reference: string): {
  readonly repo: string | undefined;
  readonly tag: string | undefined;
} {
  if (reference === "") return { repo: undefined, tag: undefined };
  const at = reference.lastIndexOf(":");
  return at > reference.lastIndexOf("/")
    ? { repo: reference.slice(0, at), tag: reference.slice(at + 1) }
    : { repo: reference, tag: undefined };
}
