/** posix_spawn(3) of glibc 2.34 or newer: its cost does not grow with our memory, unlike fork's. */
import { bind } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";
import { Gate } from "./gate.ts";

const posixSpawn = bind<
  (
    pid: Int32Array,
    path: string,
    actions: Buffer,
    attributes: Buffer,
    argv: readonly (string | null)[],
    envp: readonly (string | null)[],
  ) => number
>(
  "int posix_spawn(void *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)",
);
const actionsInit = bind<(actions: Buffer) => number>("int posix_spawn_file_actions_init(void *actions)");
const actionsDestroy = bind<(actions: Buffer) => number>("int posix_spawn_file_actions_destroy(void *actions)");
const addDup2 = bind<(actions: Buffer, from: number, to: number) => number>(
  "int posix_spawn_file_actions_adddup2(void *actions, int from, int to)",
);
const addOpen = bind<(actions: Buffer, fd: number, path: string, flags: number, mode: number) => number>(
  "int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)",
);
const addClose = bind<(actions: Buffer, fd: number) => number>(
  "int posix_spawn_file_actions_addclose(void *actions, int fd)",
);
const addCloseFrom = bind<(actions: Buffer, fd: number) => number>(
  "int posix_spawn_file_actions_addclosefrom_np(void *actions, int fd)",
);
const addChdir = bind<(actions: Buffer, path: string) => number>(
  "int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)",
);
const attributesInit = bind<(attributes: Buffer) => number>("int posix_spawnattr_init(void *attributes)");
const attributesDestroy = bind<(attributes: Buffer) => number>("int posix_spawnattr_destroy(void *attributes)");
const setFlags = bind<(attributes: Buffer, flags: number) => number>(
  "int posix_spawnattr_setflags(void *attributes, short flags)",
);
const setDefaultSignals = bind<(attributes: Buffer, set: Buffer) => number>(
  "int posix_spawnattr_setsigdefault(void *attributes, void *set)",
);
const setSignalMask = bind<(attributes: Buffer, set: Buffer) => number>(
  "int posix_spawnattr_setsigmask(void *attributes, void *set)",
);

const POSIX_SPAWN_SETPGROUP = 0x02;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
const O_RDWR = 2;
/** More than sizeof(posix_spawn_file_actions_t), 80, and sizeof(posix_spawnattr_t), 336. */
const structSize = 512;
const noSignals = Buffer.alloc(128);
const allSignals = Buffer.alloc(128, 0xff);

export interface SpawnPlan {
  /** Absolute, or relative to `cwd`. */
  readonly program: string;
  readonly argv: readonly string[];
  /** "NAME=value". */
  readonly env: readonly string[];
  readonly cwd: string | undefined;
  /** Our descriptor for each of the child's; null is /dev/null. Every other one is closed in the child. */
  readonly fds: ReadonlyMap<number, number | null>;
  /** "session": setsid. "group": its own process group in our session. */
  readonly leads: "session" | "group";
}

/** Starts the program on a thread of koffi's pool; resolves to the pid once it has been executed. */
export async function spawnProcess(plan: SpawnPlan): Promise<number> {
  using structs = new SpawnStructs(plan);
  return await call(plan, structs);
}

/** Starts the program on the calling thread, which it shares its namespaces with. Blocks for a millisecond. */
export function spawnProcessHere(plan: SpawnPlan): number {
  using structs = new SpawnStructs(plan);
  const pid = new Int32Array(1);
  const { actions, attributes } = structs;
  succeed("posix_spawn", posixSpawn(pid, plan.program, actions, attributes, [...plan.argv, null], [...plan.env, null]));
  return pid[0] ?? 0;
}

/** What posix_spawn(3) is told besides the arguments. */
class SpawnStructs implements Disposable {
  readonly actions = Buffer.alloc(structSize);
  readonly attributes = Buffer.alloc(structSize);

  constructor(plan: SpawnPlan) {
    succeed("posix_spawn_file_actions_init", actionsInit(this.actions));
    succeed("posix_spawnattr_init", attributesInit(this.attributes));
    try {
      this.#fill(plan);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    actionsDestroy(this.actions);
    attributesDestroy(this.attributes);
  }

  #fill(plan: SpawnPlan): void {
    addFileActions(this.actions, plan);
    const leads = plan.leads === "session" ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP;
    const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | leads;
    succeed("posix_spawnattr_setflags", setFlags(this.attributes, flags));
    // Node ignores SIGPIPE and blocks signals at times; the child must inherit neither.
    succeed("posix_spawnattr_setsigdefault", setDefaultSignals(this.attributes, allSignals));
    succeed("posix_spawnattr_setsigmask", setSignalMask(this.attributes, noSignals));
  }
}

/** koffi refuses more than 256 calls at a time; and more than a few make no sense, since each takes a thread. */
const starts = new Gate(16);

async function call(plan: SpawnPlan, { actions, attributes }: SpawnStructs): Promise<number> {
  using _turn = await starts.enter();
  const pid = new Int32Array(1);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  posixSpawn.async(
    pid,
    plan.program,
    actions,
    attributes,
    [...plan.argv, null],
    [...plan.env, null],
    (error: unknown, result: number) => {
      if (error !== null && error !== undefined) reject(error);
      else resolve(result);
    },
  );
  succeed("posix_spawn", await promise);
  return pid[0] ?? 0;
}

/**
 * Sources are first moved above every target, so that no target overwrites a source that is still needed; then each goes
 * to its place, which also clears close-on-exec.
 */
function addFileActions(actions: Buffer, plan: SpawnPlan): void {
  const targets = [...plan.fds.keys()].sort((a, b) => a - b);
  const last = targets.at(-1) ?? -1;
  let above = Math.max(last, ...[...plan.fds.values()].map((fd) => fd ?? 0)) + 1;
  const moved = new Map<number, number>();
  for (const [target, fd] of plan.fds) {
    if (fd === null) continue;
    succeed("adddup2", addDup2(actions, fd, above));
    moved.set(target, above);
    above += 1;
  }
  for (let target = 0; target <= last; target++) {
    const fd = plan.fds.get(target);
    const from = moved.get(target);
    if (from !== undefined) succeed("adddup2", addDup2(actions, from, target));
    else if (fd === null) succeed("addopen", addOpen(actions, target, "/dev/null", O_RDWR, 0));
    else succeed("addclose", addClose(actions, target));
  }
  succeed("addclosefrom", addCloseFrom(actions, last + 1));
  if (plan.cwd !== undefined) succeed("addchdir", addChdir(actions, plan.cwd));
}

/** These functions answer with the errno itself. */
function succeed(name: string, result: number): void {
  if (result !== 0) throw new SyscallError(name, result);
}
