/** Joining a container's main process, or a new one in it. */
import { defineCommand, flag, list, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { followSize, joinStreams } from "../../terminal/streams.ts";
import { attachUntilExit } from "./attached.ts";
import { environment } from "./create-body.ts";

export const attach = defineCommand({
  arguments: "CONTAINER",
  options: {
    noStdin: flag("Don't attach stdin"),
    detachKeys: text("KEYS", "Keys that leave it running"),
    sigProxy: text("YES", "Pass our signals on (default true)"),
  },
  async run(ctx, [name = ""], values) {
    const { Config, State } = await ctx.client.call<{
      Config: { Tty: boolean; OpenStdin: boolean };
      State: { Running: boolean; Paused: boolean };
    }>("GET", `/containers/${name}/json`);
    if (!State.Running)
      throw cliErrors.USAGE({ reason: "cannot attach to a stopped container, start it first", command: "attach" });
    if (State.Paused)
      throw cliErrors.USAGE({ reason: "cannot attach to a paused container, unpause it first", command: "attach" });
    const stdin = Config.OpenStdin && !values.noStdin;
    await attachUntilExit(ctx, {
      id: name,
      tty: Config.Tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys: values.detachKeys,
      sigProxy: values.sigProxy !== "false",
      condition: "not-running",
    });
  },
});

export const exec = defineCommand({
  arguments: "CONTAINER COMMAND [ARG...]",
  options: {
    detach: flag("Leave it running in the background", "d"),
    interactive: flag("Keep stdin open", "i"),
    tty: flag("Allocate a terminal", "t"),
    env: list("NAME=VALUE", "Set an environment variable", "e"),
    envFile: list("FILE", "Read environment variables from a file"),
    user: text("USER", "User to run as", "u"),
    workdir: text("DIR", "Working directory", "w"),
    privileged: flag("Give it all privileges"),
    detachKeys: text("KEYS", "Keys that leave it running"),
  },
  passThrough: true,
  async run(ctx, [name = "", ...command], values) {
    if (values.tty && values.interactive && ctx.stdin.isTTY !== true)
      throw cliErrors.NOT_A_TERMINAL({ reason: "the input device is not a TTY" });
    const body = {
      Cmd: command,
      Env: environment(values, ctx.environment),
      User: values.user ?? "",
      WorkingDir: values.workdir ?? "",
      Tty: values.tty,
      AttachStdin: values.interactive && !values.detach,
      AttachStdout: !values.detach,
      AttachStderr: !values.detach,
      Privileged: values.privileged,
      DetachKeys: values.detachKeys,
    };
    const { Id } = await ctx.client.call<{ Id: string }>("POST", `/containers/${name}/exec`, { body });
    if (values.detach) {
      await ctx.client.call("POST", `/exec/${Id}/start`, { body: { Detach: true, Tty: values.tty } });
      return;
    }
    const streams = await ctx.client.upgrade("POST", `/exec/${Id}/start`, { body: { Detach: false, Tty: values.tty } });
    using _size = values.tty
      ? followSize(ctx, ({ rows, columns }) =>
          ctx.client.call("POST", `/exec/${Id}/resize`, { query: { h: rows, w: columns } }),
        )
      : undefined;
    const outcome = await joinStreams(ctx, streams, {
      tty: values.tty,
      stdin: values.interactive,
      detachKeys: values.detachKeys,
    });
    if (outcome === "detached") return;
    const ended = await ctx.client.call<EndedExec>("GET", `/exec/${Id}/json`);
    // What went wrong has come by the stream.
    if (ended.Error?.hint !== undefined) ctx.stderr.write(`${ended.Error.hint}\n`);
    ctx.setExitCode(ended.ExitCode ?? 0);
  },
});

interface EndedExec {
  readonly ExitCode: number | null;
  /** Of a Berth engine, when the command could not be started. */
  readonly Error?: { readonly hint?: string };
}
