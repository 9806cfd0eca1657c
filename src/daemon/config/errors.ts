import { defineErrors } from "../../base/errors.ts";

export const configErrors = defineErrors({
  CONFIG_UNREADABLE: {
    status: 500,
    message: ({ path, reason }: { path: string; reason: string }) =>
      `cannot read the configuration file ${path}: ${reason}`,
    hint: () =>
      "give another with --config-file, or mend it: it is a JSON object of the settings that 'berth config show' lists",
  },
  CONFIG_KEY_UNKNOWN: {
    status: 400,
    message: ({ source, key }: { source: string; key: string }) => `${source} has no setting called ${key}`,
    hint: () => "'berth config show' lists the settings",
  },
  CONFIG_VALUE_INVALID: {
    status: 400,
    message: ({ source, key, value, reason }: { source: string; key: string; value: string; reason: string }) =>
      `${source} sets ${key} to ${value}: ${reason}`,
    hint: ({ key }) => `see the setting ${key} in 'berth config show --help'`,
  },
});
