import { defineErrors } from "../base/errors.ts";

/** Docker's statuses and words wherever Docker has them: its client's users and scripts match on them. */
export const instanceErrors = defineErrors({
  INSTANCE_NOT_FOUND: {
    status: 404,
    message: (p: { readonly name: string }) => `No such container: ${p.name}`,
    hint: () => "List what there is with `berth ps -a`.",
  },
  INSTANCE_ID_AMBIGUOUS: {
    status: 400,
    message: (p: { readonly prefix: string }) => `Multiple IDs found with provided prefix: ${p.prefix}`,
    hint: () => "Give more digits of the id, or the name.",
  },
  INSTANCE_ID_EMPTY: {
    status: 400,
    message: () => 'invalid name or ID supplied: ""',
  },
  NAME_INVALID: {
    status: 400,
    message: (p: { readonly name: string }) =>
      `Invalid container name (${p.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
  },
  NAME_IN_USE: {
    status: 409,
    message: (p: { readonly name: string; readonly id: string }) =>
      `Conflict. The container name "/${p.name}" is already in use by container "${p.id}". ` +
      "You have to remove (or rename) that container to be able to reuse that name.",
  },
  NETWORK_UNUSABLE: {
    status: 400,
    message: (p: { readonly reason: string }) => `failed to set up container networking: ${p.reason}`,
    hint: () => "List the networks with `berth network ls`, or make one with `berth network create`.",
  },
  RENAME_NAME_IN_USE: {
    status: 409,
    message: (p: { readonly reason: string }) => `Error when allocating new name: ${p.reason}`,
  },
  RENAME_SAME_NAME: {
    status: 400,
    message: () => "Renaming a container with the same name as its current name",
  },
  RENAME_NAME_EMPTY: {
    status: 400,
    message: () => "Neither old nor new names may be empty",
  },
  /** A field of a request that can't be; `reason` names the value, why, and what would do. */
  REQUEST_INVALID: {
    status: 400,
    message: (p: { readonly reason: string }) => p.reason,
  },
  PLATFORM_MISMATCH: {
    status: 404,
    message: (p: { readonly image: string; readonly has: string; readonly wanted: string }) =>
      `image with reference ${p.image} was found but its platform (${p.has}) does not match the specified platform (${p.wanted})`,
  },
  PORTS_NOT_ITS_OWN: {
    status: 409,
    message: (p: { readonly name: string; readonly mode: string }) =>
      `cannot change the published ports of ${p.name}: with the network mode "${p.mode}" it has none of its own`,
    hint: () => "Only what is on a bridge network publishes ports.",
  },
  PORT_NOT_PUBLISHED: {
    status: 404,
    message: (p: { readonly name: string; readonly port: string; readonly ports: readonly string[] }) =>
      `${p.name} does not publish ${p.port}`,
    hint: (p) => (p.ports.length === 0 ? "It publishes nothing." : `It publishes ${p.ports.join(", ")}.`),
  },
  NOT_RUNNING: {
    status: 409,
    message: (p: { readonly id: string }) => `container ${p.id} is not running`,
  },
  KILL_NOT_RUNNING: {
    status: 409,
    message: (p: { readonly name: string; readonly id: string }) =>
      `cannot kill container: ${p.name}: container ${p.id} is not running`,
  },
  KILL_SIGNAL_INVALID: {
    status: 400,
    message: (p: { readonly name: string; readonly signal: string }) =>
      `cannot kill container: ${p.name}: invalid signal: ${p.signal}`,
  },
  STOP_FAILED: {
    status: 500,
    message: (p: { readonly name: string; readonly reason: string }) => `cannot stop container: ${p.name}: ${p.reason}`,
  },
  ALREADY_PAUSED: {
    status: 409,
    message: (p: { readonly id: string }) => `Container ${p.id} is already paused`,
  },
  NOT_PAUSED: {
    status: 500,
    message: (p: { readonly id: string }) => `Container ${p.id} is not paused`,
  },
  RESTARTING: {
    status: 409,
    message: (p: { readonly id: string }) => `Container ${p.id} is restarting, wait until the container is running`,
  },
  START_PAUSED: {
    status: 409,
    message: () => "cannot start a paused container, try unpause instead",
  },
  MARKED_FOR_REMOVAL: {
    status: 409,
    message: () => "container is marked for removal and cannot be started",
  },
  REMOVAL_IN_PROGRESS: {
    status: 409,
    message: (p: { readonly name: string }) => `removal of container ${p.name} is already in progress`,
  },
  REMOVE_RUNNING: {
    status: 409,
    message: (p: { readonly name: string; readonly status: string }) =>
      p.status === "paused"
        ? `cannot remove container "${p.name}": container is paused and must be unpaused first`
        : `cannot remove container "${p.name}": container is ${p.status}: stop the container before removing or force remove`,
  },
  REMOVE_FAILED: {
    status: 500,
    message: (p: { readonly name: string; readonly reason: string }) =>
      `cannot remove container "${p.name}": ${p.reason}`,
  },
  NAMESPACE_OF_STOPPED: {
    status: 409,
    message: (p: { readonly kind: string; readonly name: string }) =>
      `cannot join ${p.kind} namespace of a non running container: container ${p.name} is not running`,
    hint: (p) => `Start ${p.name} first.`,
  },
  NAMESPACE_OF_MACHINE: {
    status: 409,
    message: (p: { readonly kind: string; readonly name: string }) =>
      `cannot join ${p.kind} namespace of ${p.name}: it is a virtual machine, what it has is in its guest`,
    hint: (p) => `reach ${p.name} over a network that both are on`,
  },
  IPC_NOT_SHAREABLE: {
    status: 409,
    message: (p: { readonly name: string }) =>
      `can't join IPC of container ${p.name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
  },
  BIND_SOURCE_MISSING: {
    status: 400,
    message: (p: { readonly path: string }) =>
      `invalid mount config for type "bind": bind source path does not exist: ${p.path}`,
  },
  BIND_SOURCE_NOT_MADE: {
    status: 400,
    message: (p: { readonly path: string; readonly reason: string }) =>
      `error while creating mount source path '${p.path}': ${p.reason}`,
  },
  MOUNT_SUBPATH_MISSING: {
    status: 400,
    message: (p: { readonly volume: string; readonly subpath: string }) =>
      `cannot access path ${p.subpath} of volume ${p.volume}: no such file or directory`,
  },
  START_BROKEN_OFF: {
    status: 409,
    message: (p: { readonly name: string; readonly how: string }) =>
      `the start of ${p.name} was broken off: it was ${p.how} before its process ran`,
  },
  INSIDE_NEEDS_RUNNING: {
    status: 409,
    message: (p: { readonly name: string; readonly verb: string }) =>
      `can't ${p.verb} ${p.name}: it is a virtual machine, whose own agent has to do that, and it is not running`,
    hint: () => "start it (or unpause it) first",
  },
  INSIDE_UNSUPPORTED: {
    status: 501,
    message: (p: { readonly name: string; readonly verb: string }) =>
      `can't ${p.verb} ${p.name}: that is not there yet for a virtual machine`,
    hint: () => "docs/machines.md says what a virtual machine can",
  },
  NO_DRIVER: {
    status: 400,
    message: (p: { readonly isolation: string }) =>
      `nothing on this engine runs instances of isolation "${p.isolation}"`,
  },
  ATTACH_PAUSED: {
    status: 409,
    message: (p: { readonly name: string }) => `container ${p.name} is paused, unpause the container before attach`,
  },
  ATTACH_RESTARTING: {
    status: 409,
    message: (p: { readonly name: string }) => `container ${p.name} is restarting, wait until the container is running`,
  },
  EXEC_NOT_FOUND: {
    status: 404,
    message: (p: { readonly id: string }) => `No such exec instance: ${p.id}`,
  },
  EXEC_PAUSED: {
    status: 409,
    message: (p: { readonly name: string }) => `Container ${p.name} is paused, unpause the container before exec`,
  },
  EXEC_ALREADY_RUN: {
    status: 409,
    message: (p: { readonly id: string; readonly running: boolean }) =>
      p.running ? `exec command ${p.id} is already running` : `exec command ${p.id} has already run`,
  },
  EXEC_NOT_RUNNING: {
    status: 409,
    message: (p: { readonly id: string }) => `exec process ${p.id} is not running`,
  },
  LOGS_NO_STREAM: {
    status: 400,
    message: () => "You must choose at least one stream",
  },
  LOGS_NOT_READABLE: {
    status: 501,
    message: () => "configured logging driver does not support reading",
  },
  LOGS_OF_DEAD: {
    status: 409,
    message: () => "can not get logs from container which is dead or marked for removal",
  },
  PATH_NOT_IN_INSTANCE: {
    status: 404,
    message: (p: { readonly path: string; readonly name: string }) =>
      `Could not find the file ${p.path} in container ${p.name}`,
  },
  COPY_TARGET_NOT_DIRECTORY: {
    status: 400,
    message: () => "extraction point is not a directory",
  },
  COPY_READ_ONLY: {
    status: 400,
    message: (p: { readonly what: "volume" | "rootfs" }) =>
      p.what === "volume" ? "mounted volume is marked read-only" : "container rootfs is marked read-only",
  },
  TOO_MANY_LINKS: {
    status: 400,
    message: (p: { readonly path: string }) => `too many levels of symbolic links in ${p.path}`,
  },
  TOP_FAILED: {
    status: 500,
    message: (p: { readonly reason: string }) => `ps: ${p.reason}`,
  },
  UPDATE_REFUSED: {
    status: 409,
    message: (p: { readonly id: string; readonly reason: string }) => `Cannot update container ${p.id}: ${p.reason}`,
  },
  UPDATE_FAILED: {
    status: 500,
    message: (p: { readonly id: string; readonly reason: string }) => `Cannot update container ${p.id}: ${p.reason}`,
  },
  FILTER_INVALID: {
    status: 400,
    message: (p: { readonly name: string }) => `invalid filter '${p.name}'`,
  },
  COMMIT_WITHOUT_IMAGE: {
    status: 409,
    message: (p: { readonly id: string }) =>
      `cannot commit container ${p.id}: it stands on layers that belong to no image`,
  },
  NETWORK_SHARED: {
    status: 400,
    message: () =>
      "container sharing network namespace with another container or host cannot be connected to any other network",
  },
  LINK_LOCAL_INSIDE: {
    status: 400,
    message: () => "a virtual machine can't be given link-local addresses: its guest sets its addresses itself",
    hint: () => "leave --link-local-ip out, or add the address inside",
  },
  NETWORK_NONE: {
    status: 400,
    message: () => "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    hint: () => "Disconnect it from the network none first.",
  },
  NETWORK_HOST: {
    status: 400,
    message: () => "cannot connect container to host network - container must be created in host network mode",
  },
  NOT_CONNECTED: {
    status: 500,
    message: (p: { readonly network: string; readonly id: string }) =>
      `container ${p.id} is not connected to the network ${p.network}`,
  },
});
