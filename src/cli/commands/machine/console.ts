/** A machine's serial console: the terminal of what is one of Docker's containers, too. */
import { MachinesClient } from "../../../client/machines.ts";
import { type Command, defineCommand, flag, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { joinStreams } from "../../terminal/streams.ts";
import { logs as containerLogs } from "../container/observe.ts";

const defaultKeys = "ctrl-]";

export const console = defineCommand({
  arguments: "MACHINE",
  options: {
    detachKeys: text("KEYS", `Keys that leave it (${defaultKeys})`),
    start: flag("Switch it on first, and see it boot from the first line on"),
  },
  help: "Joins the serial console. The guest goes on when you leave it. What was written before: berth machine logs.",
  async run(ctx, [name = ""], { detachKeys = defaultKeys, start }) {
    const machines = new MachinesClient(ctx.client);
    const { id, status } = await machines.inspect(name);
    if (status !== "running" && !start) {
      const reason = `the machine ${name} ${status === "paused" ? "is paused" : "does not run"}`;
      throw cliErrors.USAGE({ reason: `${reason}; with --start it is switched on`, command: "machine console" });
    }
    const streams = await ctx.client.upgrade("POST", `/containers/${id}/attach`, {
      // The keys are ours to look for: what the engine gets is all for the guest.
      query: {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        detachKeys: "ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@",
      },
    });
    if (start && status !== "running") await machines.start(name);
    if (ctx.stdin.isTTY === true) ctx.stderr.write(`Console of ${name}; leave it with ${detachKeys}\r\n`);
    const outcome = await joinStreams(ctx, streams, { tty: true, stdin: true, detachKeys });
    if (ctx.stdin.isTTY === true) {
      ctx.stderr.write(outcome === "detached" ? `\r\nLeft the console of ${name}\n` : `\r\n${name} has powered off\n`);
    }
  },
});

export const logs: Command = {
  ...containerLogs,
  arguments: "MACHINE",
  async run(ctx, [name = ""], values) {
    const { id } = await new MachinesClient(ctx.client).inspect(name);
    await containerLogs.run(ctx, [id], values);
  },
};
