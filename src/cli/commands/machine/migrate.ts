import { Check } from "typebox/value";
import { migrateMachine } from "../../../client/machine-migrate.ts";
import { MigrationReport } from "../../../schema/machine-migrate-api.ts";
import { defineCommand, flag, text } from "../../command.ts";
import { cliErrors } from "../../errors.ts";
import { drawProgress } from "../../render/progress.ts";

export const migrate = defineCommand({
  arguments: "MACHINE",
  options: {
    to: text("ADDRESS", "The other engine on this host: unix:///PATH/docker.sock"),
    name: text("NAME", "Its name there (the same)"),
    keep: flag("Leave it here, switched off, instead of removing it"),
    quiet: flag("No progress", "q"),
  },
  help: `Disks and memory are copied while it runs; it stands still for the last of it. Until the other engine has all, it runs here, whatever
fails; Ctrl-C calls it off. It needs networks of the same names there.`,
  async run(ctx, [machine = ""], { to, name, keep, quiet }) {
    if (to === undefined) {
      const reason = "'berth machine migrate' needs --to ADDRESS";
      throw cliErrors.USAGE({ reason, command: "machine migrate" });
    }
    if (!to.startsWith("unix:///")) {
      const reason = "only an engine on this host can take it: unix:///PATH";
      throw cliErrors.OPTION_INVALID({ option: "to", value: to, reason });
    }
    const body = { to, keep, ...(name === undefined ? {} : { name }) };
    const aux = await drawProgress(ctx, await migrateMachine(ctx.client, machine, body, ctx.signal), { quiet });
    const report = aux.at(-1);
    if (!Check(MigrationReport, report)) return;
    for (const note of report.notes) ctx.stderr.write(`${note}\n`);
    ctx.stdout.write(quiet ? `${report.id}\n` : `${report.name} stood still for ${report.downtimeMs} ms\n`);
  },
});
