import { defineErrors } from "../base/errors.ts";

export const hostErrors = defineErrors({
  KERNEL_OP_FAILED: {
    status: 500,
    message: (p: KernelOpFailure) => `${p.op} ${p.target}: ${p.errno}: ${p.text}`,
    hint: (p: KernelOpFailure) => kernelHints[p.errno] ?? "The kernel's log (dmesg) may say more",
  },
  KERNEL_WORKER_LOST: {
    status: 500,
    message: (p: { reason: string }) => `the kernel worker ended while it was busy: ${p.reason}`,
    hint: () => "It has been started anew; try the operation again",
  },
  HOST_CLOSED: { status: 500, message: (p: { call: string }) => `${p.call}: the host was closed` },
  FAILPOINT_SPEC_INVALID: {
    status: 400,
    message: (p: { part: string; reason: string }) => `BERTH_FAILPOINTS: cannot arm "${p.part}": ${p.reason}`,
    hint: () =>
      "'berth failpoints' lists the failpoints, 'berth failpoints --help' explains the form; unset it for an engine in use",
  },
  LOCK_HELD: {
    status: 409,
    message: (p: { path: string; holder: number | undefined }) =>
      `${p.path} is locked by ${p.holder === undefined ? "another process" : `process ${p.holder}`}`,
    hint: () => "Another engine uses this directory: stop it, or give this one a directory of its own",
  },
  READ_REFUSED: {
    status: 400,
    message: (p: { path: string; root: string; reason: string }) => `${p.path} (in ${p.root}) ${p.reason}`,
  },
  PROGRAM_NOT_FOUND: {
    status: 500,
    message: (p: { program: string; path: string }) => `program ${p.program} not found (PATH is ${p.path})`,
    hint: (p: { program: string; path: string }) => `Install ${p.program}; "berth doctor" lists what is missing`,
  },
  PROCESS_SPAWN_FAILED: {
    status: 500,
    message: (p: { program: string; errno: string; text: string }) =>
      `cannot start ${p.program}: ${p.errno}: ${p.text}`,
  },
  PROCESS_TIMEOUT: {
    status: 504,
    message: (p: { program: string; timeoutMs: number }) =>
      `${p.program} did not end within ${p.timeoutMs / 1000} s and was killed`,
  },
  PROCESS_OUTPUT_TOO_LARGE: {
    status: 500,
    message: (p: { program: string; bytes: number }) => `${p.program} wrote more than ${p.bytes} bytes and was killed`,
  },
  SOCKET_FAILED: {
    status: 500,
    message: (p: { path: string; call: string; errno: string; text: string }) =>
      `${p.call} ${p.path}: ${p.errno}: ${p.text}`,
  },
  CGROUP_LIMIT_REJECTED: {
    status: 400,
    message: (p: { limit: string; value: string; reason: string }) =>
      `limit ${p.limit}=${p.value} was rejected: ${p.reason}`,
    hint: (p: { limit: string; value: string; reason: string }) =>
      `Choose another value for ${p.limit}, or leave it out`,
  },
  CGROUP_BUSY: {
    status: 500,
    message: (p: { path: string; pids: string }) =>
      `control group ${p.path} can't be removed: processes ${p.pids} live on`,
  },
});

/** What is known of a failed kernel operation. */
export interface KernelOpFailure {
  /** The operation's name, as in `KernelOp.op`. */
  readonly op: string;
  readonly target: string;
  /** "ENOENT". */
  readonly errno: string;
  /** The kernel's words. */
  readonly text: string;
}

const kernelHints: Readonly<Record<string, string>> = {
  EPERM: "Run the engine as root with all capabilities",
  EACCES: "Run the engine as root with all capabilities",
  ENOENT: "Something that it needs is missing: the path itself, or a directory above it",
  EEXIST: "It is there already, made by another program or left by an earlier run",
  ENODEV: "There is no such device or file system type; a kernel module may have to be loaded for it",
  ENOTSUP: "The running kernel or file system lacks this feature",
  EBUSY: "Something still uses it",
  ENOSPC: "The disk (or a kernel limit such as fs.mount-max) is full",
};

/** Name of the errno ("EBUSY") that lies behind `error`, searched along its causes; undefined when there is none. */
export function errnoOf(error: unknown): string | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    if ("errno" in each && "code" in each && typeof each.code === "string") return each.code;
  }
  return undefined;
}
