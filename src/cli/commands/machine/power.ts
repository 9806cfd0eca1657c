/** Switching machines on and off. */
import { MachinesClient } from "../../../client/machines.ts";
import { defineCommand, flag, integer } from "../../command.ts";
import { forEachWord } from "../../each.ts";

const many = "MACHINE [MACHINE...]";
const hints = { hints: true };

export const start = defineCommand({
  arguments: many,
  options: {},
  run: (ctx, words) => forEachWord(ctx, words, (name) => new MachinesClient(ctx.client).start(name), hints),
});

export const stop = defineCommand({
  arguments: many,
  options: {
    timeout: integer("SECONDS", "Time that the guest has to power off (90 unless the machine says otherwise)", "t"),
    force: flag("Pull the plug at once: as a power cut, what the guest has not written is lost", "f"),
    orFail: flag("Fail when the time is over, instead of pulling the plug"),
  },
  help: "Presses the power button (ACPI). When the guest has not powered off in time, the plug is pulled.",
  run: (ctx, words, { timeout, force, orFail }) =>
    forEachWord(
      ctx,
      words,
      async (name) => {
        const body = { force, orFail, ...(timeout === undefined ? {} : { timeout }) };
        const { how } = await new MachinesClient(ctx.client).stop(name, body);
        if (how === "forced" && !force) ctx.stderr.write(`Warning: ${name} did not power off in time: forced\n`);
      },
      hints,
    ),
});

export const reset = defineCommand({
  arguments: many,
  options: {},
  help: "The guest boots anew at once, whatever it is doing: what it has not written is lost.",
  run: (ctx, words) => forEachWord(ctx, words, (name) => new MachinesClient(ctx.client).reset(name), hints),
});

export const remove = defineCommand({
  arguments: many,
  options: { force: flag("Pull the plug first when it runs", "f") },
  run: (ctx, words, { force }) =>
    forEachWord(ctx, words, (name) => new MachinesClient(ctx.client).remove(name, { force }), hints),
});

export const rename = defineCommand({
  arguments: "MACHINE NEW_NAME",
  options: {},
  run: (ctx, [name = "", newName = ""]) => new MachinesClient(ctx.client).rename(name, newName),
});
