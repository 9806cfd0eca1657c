/** A machine's screen and keyboard. */
import { writeFileSync } from "node:fs";
import { LiveMachinesClient } from "../../../client/live-machines.ts";
import { defineCommand, text } from "../../command.ts";

export const screenshot = defineCommand({
  arguments: "MACHINE [FILE]",
  options: {},
  help: "Writes a PNG to FILE (MACHINE.png unless stated; - is stdout).",
  async run(ctx, [machine = "", file = `${machine}.png`]) {
    const png = await new LiveMachinesClient(ctx.client).screenshot(machine);
    if (file === "-") ctx.stdout.write(png);
    else {
      writeFileSync(file, png);
      ctx.stdout.write(`${file}\n`);
    }
  },
});

export const keys = defineCommand({
  arguments: "MACHINE [KEY...]",
  options: { text: text("TEXT", "Typed on a US keyboard, before the keys") },
  help: "KEY has QEMU's name, several that are pressed together joined by dashes: ret, esc, f2, ctrl-alt-delete.",
  run: (ctx, [machine = "", ...words], values) =>
    new LiveMachinesClient(ctx.client).pressKeys(machine, {
      ...(values.text === undefined ? {} : { text: values.text }),
      keys: [...words],
    }),
});
