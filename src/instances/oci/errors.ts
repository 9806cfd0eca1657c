import { defineErrors } from "../../base/errors.ts";

/** What the OCI driver refuses, before anything is started. Docker's words where it has some. */
export const ociErrors = defineErrors({
  USER_NOT_FOUND: {
    status: 400,
    message: (p: { readonly kind: "user" | "group"; readonly name: string }) =>
      `unable to find ${p.kind} ${p.name}: no matching entries in ${p.kind === "user" ? "passwd" : "group"} file`,
    hint: (p) => `use a numeric id, or an image whose /etc/${p.kind === "user" ? "passwd" : "group"} has "${p.name}"`,
  },
  USER_ID_OUT_OF_RANGE: {
    status: 400,
    message: (p: { readonly id: string }) => `uids and gids must be in range 0-2147483647, not ${p.id}`,
  },
  CAPABILITY_UNKNOWN: {
    status: 400,
    message: (p: { readonly name: string }) => `unknown capability: "CAP_${p.name}"`,
    hint: () => "capabilities(7) lists the names",
  },
  CAPABILITY_NOT_AVAILABLE: {
    status: 400,
    message: (p: { readonly name: string }) =>
      `capability not supported by your kernel or not available in the current environment: "CAP_${p.name}"`,
    hint: () => "the engine itself has to have a capability to give it to a container",
  },
  ULIMIT_UNKNOWN: {
    status: 400,
    message: (p: { readonly name: string }) => `invalid ulimit type: ${p.name}`,
    hint: () =>
      "use one of core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack",
  },
  ULIMIT_INVALID: {
    status: 400,
    message: (p: { readonly name: string; readonly soft: number; readonly hard: number }) =>
      `ulimit soft limit must be less than or equal to hard limit: ${p.name} ${p.soft} > ${p.hard}`,
  },
  ULIMIT_NOT_PERMITTED: {
    status: 400,
    message: (p: { readonly name: string; readonly asked: number; readonly hard: number }) =>
      `ulimit ${p.name}=${p.asked} is above this engine's own hard limit of ${p.hard}, which it may not raise (no CAP_SYS_RESOURCE)`,
    hint: (p) => `ask for at most ${p.hard}, or start the engine with a higher limit`,
  },
  OOM_SCORE_NOT_PERMITTED: {
    status: 400,
    message: (p: { readonly asked: number; readonly current: number }) =>
      `oom-score-adj ${p.asked} is below this engine's own ${p.current}, which it may not lower (no CAP_SYS_RESOURCE)`,
    hint: (p) => `ask for ${p.current} or more`,
  },
  USER_NAMESPACE_UNSUPPORTED: {
    status: 400,
    message: (p: { readonly mode: string }) => `invalid user namespace mode "${p.mode}": only "host" is supported`,
    hint: () => "leave --userns out",
  },
  SYSCTL_NOT_ALLOWED: {
    status: 400,
    message: (p: { readonly key: string; readonly reason: string }) => `sysctl "${p.key}" is not allowed: ${p.reason}`,
    hint: () =>
      "only keys that belong to one of the container's own namespaces can be set: kernel.{msg*,sem,shm*}, fs.mqueue.*, net.*",
  },
  DEVICE_NOT_FOUND: {
    status: 400,
    message: (p: { readonly path: string; readonly reason: string }) =>
      `error gathering device information while adding custom device "${p.path}": ${p.reason}`,
    hint: () => "give the path of a device node of this host, or of a directory that holds some",
  },
  DEVICE_RULE_INVALID: {
    status: 400,
    message: (p: { readonly rule: string }) => `invalid device cgroup rule format: '${p.rule}'`,
    hint: () => 'write it as "c 13:* rwm": a type (a, b, c), major:minor (or *), and letters of rwm',
  },
  MOUNT_NOT_SHARED: {
    status: 400,
    message: (p: { readonly path: string; readonly mountpoint: string; readonly need: string }) =>
      `path ${p.path} is mounted on ${p.mountpoint} but it is not a ${p.need} mount`,
    hint: (p) => `make it one first: mount --make-shared ${p.mountpoint}`,
  },
  SECCOMP_INVALID: {
    status: 400,
    message: (p: { readonly reason: string }) => `Decoding seccomp profile failed: ${p.reason}`,
    hint: () => "the profile has to be JSON in Docker's format, see docs on `--security-opt seccomp=`",
  },
  INIT_MISSING: {
    status: 400,
    message: () =>
      "--init needs an init program on the host, and none of docker-init, tini-static, catatonit was found",
    hint: () => "install one: apt-get install tini",
  },
  WORKING_DIR_INVALID: {
    status: 400,
    message: (p: { readonly path: string }) =>
      `the working directory '${p.path}' is invalid, it needs to be an absolute path`,
  },
  COMMAND_MISSING: {
    status: 400,
    message: () => "no command specified",
    hint: () => "the image has no default command: give one",
  },
  RUNTIME_MISSING: {
    status: 500,
    message: (p: { readonly reasons: readonly string[] }) =>
      `containers can't be run on this machine: ${p.reasons.join("; ")}`,
    hint: () => "install them: apt-get install runc conmon",
  },
});
