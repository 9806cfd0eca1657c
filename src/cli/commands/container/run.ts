import { existsSync, writeFileSync } from "node:fs";
import { isBerthError } from "../../../base/errors.ts";
import { type CliContext, defineCommand, flag, list, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { pullImage } from "../image/pull-image.ts";
import { attachUntilExit } from "./attached.ts";
import { type CreateValues, createBody } from "./create-body.ts";
import { createOptions } from "./create-options.ts";

interface Created {
  readonly Id: string;
  readonly Warnings: readonly string[] | null;
}

export const create = defineCommand({
  arguments: "IMAGE [COMMAND] [ARG...]",
  options: { ...createOptions, attach: list("STREAM", "Attach to stdin, stdout or stderr", "a") },
  passThrough: true,
  async run(ctx, [image = "", ...command], values) {
    const body = createBody(image, command, values, {
      environment: ctx.environment,
      attach: attachedStreams(values.attach, false, values.interactive),
    });
    ctx.stdout.write(`${await createContainer(ctx, image, body, values)}\n`);
  },
});

export const run = defineCommand({
  arguments: "IMAGE [COMMAND] [ARG...]",
  options: {
    ...createOptions,
    detach: flag("Print the id and leave it running in the background", "d"),
    attach: list("STREAM", "Attach only to stdin, stdout or stderr", "a"),
    detachKeys: text("KEYS", "Keys that leave it running: ctrl-p,ctrl-q"),
    sigProxy: text("YES", "Pass our signals on (default true)"),
  },
  passThrough: true,
  async run(ctx, [image = "", ...command], values) {
    const attach = attachedStreams(values.attach, values.detach, values.interactive);
    if (values.tty && attach.stdin && ctx.stdin.isTTY !== true)
      throw cliErrors.NOT_A_TERMINAL({ reason: "the input device is not a TTY" });
    const body = createBody(image, command, values, { environment: ctx.environment, attach });
    if (values.tty && ctx.stdout.isTTY === true)
      (body["HostConfig"] as Record<string, unknown>)["ConsoleSize"] = [
        ctx.stdout.rows ?? 24,
        ctx.stdout.columns ?? 80,
      ];
    const id = await createContainer(ctx, image, body, values);
    if (values.detach) {
      await startOrExplain(ctx, id);
      ctx.stdout.write(`${id}\n`);
      return;
    }
    await attachUntilExit(ctx, {
      id,
      tty: values.tty,
      ...attach,
      detachKeys: values.detachKeys,
      sigProxy: values.sigProxy !== "false",
      condition: values.rm ? "removed" : "next-exit",
      begin: () => startOrExplain(ctx, id),
    });
  },
});

function withTag(image: string): string {
  const hasTag = image.includes("@") || image.lastIndexOf(":") > image.lastIndexOf("/");
  return hasTag ? image : `${image}:latest`;
}

/** Creates, pulling the image when it is missing (or as `--pull` says). Prints warnings; returns the id. */
async function createContainer(
  ctx: CliContext,
  image: string,
  body: Record<string, unknown>,
  values: CreateValues,
): Promise<string> {
  if (values.cidfile !== undefined && existsSync(values.cidfile))
    throw cliErrors.OPTION_INVALID({
      option: "cidfile",
      value: values.cidfile,
      reason: "the file exists; remove it or choose another",
    });
  const when = values.pull ?? "missing";
  if (!["always", "missing", "never"].includes(when))
    throw cliErrors.OPTION_INVALID({ option: "pull", value: when, reason: "always, missing or never" });
  const pull = () =>
    pullImage({ ...ctx, stdout: ctx.stderr }, image, { platform: values.platform, quiet: values.quiet });
  if (when === "always") await pull();
  const post = () =>
    ctx.client.call<Created>("POST", "/containers/create", {
      query: { name: values.name, platform: values.platform },
      body,
    });
  let created: Created;
  try {
    created = await post();
  } catch (error) {
    if (!(isBerthError(error) && error.status === 404 && /no such image/i.test(error.message)) || when === "never")
      throw error;
    if (!values.quiet) ctx.stderr.write(`Unable to find image '${withTag(image)}' locally\n`);
    await pull();
    created = await post();
  }
  for (const warning of created.Warnings ?? []) ctx.stderr.write(`WARNING: ${warning}\n`);
  if (values.cidfile !== undefined) writeFileSync(values.cidfile, created.Id);
  return created.Id;
}

/** docker's exit codes: 127 and 126 when the command could not be run, 125 for every other failure to start. */
async function startOrExplain(ctx: CliContext, id: string): Promise<void> {
  try {
    await ctx.client.call("POST", `/containers/${id}/start`);
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    ctx.setExitCode(
      /executable file not found|no such file or directory/.test(message)
        ? 127
        : /permission denied|is a directory/.test(message)
          ? 126
          : 125,
    );
    throw error;
  }
}

function attachedStreams(
  wanted: readonly string[],
  detach: boolean,
  interactive: boolean,
): { stdin: boolean; stdout: boolean; stderr: boolean } {
  if (detach) return { stdin: false, stdout: false, stderr: false };
  if (wanted.length === 0) return { stdin: interactive, stdout: true, stderr: true };
  const names = wanted.map((name) => name.toLowerCase());
  for (const name of names)
    if (!["stdin", "stdout", "stderr"].includes(name))
      throw cliErrors.OPTION_INVALID({ option: "attach", value: name, reason: "stdin, stdout or stderr" });
  return { stdin: names.includes("stdin"), stdout: names.includes("stdout"), stderr: names.includes("stderr") };
}
