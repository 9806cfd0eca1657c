import { defineErrors } from "../base/errors.ts";

export const daemonErrors = defineErrors({
  NOT_ROOT: {
    status: 403,
    message: () => "the engine needs root: it makes namespaces, mounts and control groups",
    hint: () => "run it with sudo",
  },
  DATA_ROOT_LOCKED: {
    status: 409,
    message: ({ dataRoot }: { dataRoot: string }) => `another engine works on the data root ${dataRoot}`,
    hint: () => "stop that one, or give this one its own --data-root, --run-root and -H",
  },
  DIRECTORY_UNUSABLE: {
    status: 500,
    message: ({ path, reason }: { path: string; reason: string }) => `cannot use the directory ${path}: ${reason}`,
    hint: () => "make it a writable directory, or choose another with --data-root or --run-root",
  },
  GROUP_UNKNOWN: {
    status: 400,
    message: ({ group }: { group: string }) => `there is no group called ${group} for the API's socket`,
    hint: ({ group }) => `make it with: groupadd ${group}; or leave --socket-group out`,
  },
  PEER_ANSWER_INVALID: {
    status: 502,
    message: ({ host }: { host: string }) => `the engine at ${host} answers what is no answer to a migration`,
    hint: () => "both engines have to be of this version of Berth",
  },
  FLAG_INVALID: {
    status: 400,
    message: ({ reason }: { reason: string }) => reason,
    hint: () => "See 'berth daemon --help'.",
  },
});
