/** What can go wrong with volumes, in Docker's words. */
import { defineErrors } from "../base/errors.ts";

export const volumeErrors = defineErrors({
  VOLUME_NOT_FOUND: { status: 404, message: (p: { name: string }) => `get ${p.name}: no such volume` },
  VOLUME_NAME_INVALID: {
    status: 400,
    message: (p: { name: string; reason: "short" | "characters" }) =>
      p.reason === "short"
        ? `create ${p.name}: volume name is too short, names should be at least two alphanumeric characters`
        : `create ${p.name}: "${p.name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  },
  VOLUME_DRIVER_UNKNOWN: {
    status: 404,
    message: (p: { name: string; driver: string }) =>
      `create ${p.name}: error looking up volume plugin ${p.driver}: plugin "${p.driver}" not found`,
    hint: () => 'Berth has the driver "local"',
  },
  VOLUME_OPTION_INVALID: {
    status: 400,
    message: (p: { name: string; reason: string }) => `create ${p.name}: ${p.reason}`,
  },
  VOLUME_CONFLICT: {
    status: 409,
    message: (p: { name: string }) => `create ${p.name}: a volume of this name exists with other options`,
    hint: (p) => `choose another name, or remove the volume first: docker volume rm ${p.name}`,
  },
  VOLUME_IN_USE: {
    status: 409,
    message: (p: { name: string; users: readonly string[] }) =>
      `remove ${p.name}: volume is in use - [${p.users.join(", ")}]`,
    hint: () => "remove the containers that hold it first",
  },
  VOLUME_MOUNT_FAILED: {
    status: 500,
    message: (p: { name: string; source: string; target: string; reason: string }) =>
      `failed to mount local volume ${p.name}: mount ${p.source}:${p.target}: ${p.reason}`,
  },
  VOLUME_FILTER_INVALID: { status: 400, message: (p: { filter: string }) => `invalid filter '${p.filter}'` },
});
