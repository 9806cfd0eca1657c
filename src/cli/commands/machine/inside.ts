/** Commands and files in a guest, by qemu-guest-agent: Docker's exec and cp on the machine. */
import { MachinesClient } from "../../../client/machines.ts";
import { defineCommand, flag, list, text } from "../../command.ts";
import { exec as containerExec } from "../container/attach.ts";
import { copy as containerCopy } from "../container/copy.ts";

const needsAgent = "Needs qemu-guest-agent in the guest.";

export const exec = defineCommand({
  arguments: "MACHINE [--] COMMAND [ARG...]",
  options: {
    detach: flag("Leave it running in the background", "d"),
    interactive: flag("Give it our stdin, up to 8 MiB, once that has ended", "i"),
    env: list("NAME=VALUE", "Set an environment variable", "e"),
    user: text("USER", "User to run as (root unless stated)", "u"),
    workdir: text("DIR", "Working directory", "w"),
  },
  help: `${needsAgent} Its output comes when the command has ended; a terminal is what the console and ssh have.`,
  passThrough: true,
  async run(ctx, [name = "", ...command], values) {
    const { id } = await new MachinesClient(ctx.client).inspect(name);
    // As after incus exec and kubectl exec.
    const words = command[0] === "--" ? command.slice(1) : command;
    await containerExec.run(ctx, [id, ...words], {
      ...values,
      tty: false,
      envFile: [],
      privileged: false,
      detachKeys: undefined,
    });
  },
});

export const copy = {
  ...containerCopy,
  arguments: "MACHINE:PATH|PATH|- MACHINE:PATH|PATH|-",
  help: `${needsAgent} The guest's own tar packs and unpacks.`,
};
