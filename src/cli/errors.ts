import { defineErrors } from "../base/errors.ts";

export const cliErrors = defineErrors({
  USAGE: {
    status: 400,
    message: ({ reason }: { reason: string; command: string }) => reason,
    hint: ({ command }) => `See '${["berth", command, "--help"].filter((word) => word !== "").join(" ")}'.`,
  },
  OPTION_INVALID: {
    status: 400,
    message: ({ option, value, reason }: { option: string; value: string; reason: string }) =>
      `invalid value "${value}" for --${option}: ${reason}`,
  },
  TEMPLATE_INVALID: {
    status: 400,
    message: ({ template, reason }: { template: string; reason: string }) =>
      `template parsing error: ${reason} in "${template}"`,
    hint: () => "--format takes Go templates such as '{{.ID}} {{json .Config}}', or json, or table",
  },
  FILE_UNREADABLE: {
    status: 400,
    message: ({ path, reason }: { path: string; reason: string }) => `cannot read ${path}: ${reason}`,
  },
  PORT_NOT_PUBLISHED: {
    status: 404,
    message: ({ port, container }: { port: string; container: string }) =>
      `No public port '${port}' published for ${container}`,
  },
  NOT_A_TERMINAL: {
    status: 400,
    message: ({ reason }: { reason: string }) => reason,
  },
});
