import { closeSync, fstatSync, readSync } from "node:fs";
import koffi from "koffi";
import type { SeccompArgument, SeccompFilter } from "../host.ts";
import { bind, checked } from "../libc.ts";
import { SyscallError } from "../syscall-error.ts";
import { enosysPrologue } from "./seccomp-prologue.ts";

/**
 * Compiles a filter with libseccomp to the kernel's BPF program, as the OCI runtimes do at each start: done once, a runtime that
 * takes a program saves 15 ms for each container. Undefined when there is no libseccomp here. System calls that it does not know
 * are left out; those that are newer than all of the filter's answer ENOSYS, so that programs fall back to older ones, as runc
 * has it.
 */
export function compileSeccomp(filter: SeccompFilter): Uint8Array | undefined {
  const library = loadLibrary();
  if (library === undefined) return undefined;
  const context = library.init(actionCode(filter.defaultAction, filter.defaultErrnoRet));
  if (context === null) throw new SyscallError("seccomp_init", 22, `no such default action: ${filter.defaultAction}`);
  try {
    const machines = (filter.architectures ?? []).map((name) => ({
      name,
      token: addArchitecture(library, context, name),
    }));
    checkedSeccomp("seccomp_attr_set", library.attributeSet(context, SCMP_FLTATR_CTL_NNP, 0));
    // A binary tree instead of a list; since 2.5.0, an error before.
    library.attributeSet(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (const rule of filter.syscalls) {
      const action = actionCode(rule.action, rule.errnoRet);
      for (const name of rule.names) addRule(library, context, action, name, rule.args ?? []);
    }
    const program = exportProgram(library, context);
    const names = new Set(filter.syscalls.flatMap((rule) => rule.names));
    const strict = filter.defaultAction !== "SCMP_ACT_ALLOW" && filter.defaultAction !== "SCMP_ACT_LOG";
    if (!strict || filter.defaultErrnoRet === ENOSYS) return program;
    const highest = machines.map(({ token }) => ({ token, number: highestNumber(library, token, names) }));
    return Buffer.concat([enosysPrologue(highest), program]);
  } finally {
    library.release(context);
  }
}

const memfdCreate = bind<(name: string, flags: number) => number>(
  "int memfd_create(const char *name, unsigned int flags)",
);
const MFD_CLOEXEC = 1;
const SCMP_FLTATR_CTL_NNP = 3;
const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const EEXIST = 17;
const EACCES = 13;
const EPERM = 1;
const ENOSYS = 38;

/** seccomp(2): SECCOMP_RET_*. */
const actions: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_ERRNO: 0x0005_0000,
  SCMP_ACT_TRACE: 0x7ff0_0000,
  SCMP_ACT_NOTIFY: 0x7fc0_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
};
/** seccomp.h: enum scmp_compare. */
const comparisons: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

type Context = object;

/** seccomp.h, of libseccomp 2.2 or later. */
interface Library {
  readonly init: (action: number) => Context | null;
  readonly release: (context: Context) => void;
  readonly attributeSet: (context: Context, attribute: number, value: number) => number;
  readonly archResolve: (name: string) => number;
  readonly archAdd: (context: Context, token: number) => number;
  readonly resolve: (name: string) => number;
  readonly resolveFor: (token: number, name: string) => number;
  readonly addRule: (context: Context, action: number, call: number, count: number, args: Buffer | null) => number;
  readonly exportBpf: (context: Context, fd: number) => number;
}
let loaded: Library | "absent" | undefined;

function loadLibrary(): Library | undefined {
  loaded ??= openLibrary() ?? "absent";
  return loaded === "absent" ? undefined : loaded;
}

function openLibrary(): Library | undefined {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load("libseccomp.so.2");
  } catch {
    // Not installed: the runtimes that are linked with it then compile for themselves, or do without.
    return undefined;
  }
  // The interface above types each; koffi knows only the prototype.
  const func = (prototype: string) => library.func(prototype) as unknown as never;
  return {
    init: func("void *seccomp_init(uint32_t action)"),
    release: func("void seccomp_release(void *context)"),
    attributeSet: func("int seccomp_attr_set(void *context, int attribute, uint32_t value)"),
    archResolve: func("uint32_t seccomp_arch_resolve_name(const char *name)"),
    archAdd: func("int seccomp_arch_add(void *context, uint32_t token)"),
    resolve: func("int seccomp_syscall_resolve_name(const char *name)"),
    resolveFor: func("int seccomp_syscall_resolve_name_arch(uint32_t token, const char *name)"),
    addRule: func(
      "int seccomp_rule_add_array(void *context, uint32_t action, int call, unsigned int count, void *args)",
    ),
    exportBpf: func("int seccomp_export_bpf(void *context, int fd)"),
  };
}

function actionCode(name: string, errno: number | undefined): number {
  const code = actions[name];
  if (code === undefined) throw new SyscallError("seccomp", 22, `no such action: ${name}`);
  const takesData = name === "SCMP_ACT_ERRNO" || name === "SCMP_ACT_TRACE";
  return takesData ? (code | ((errno ?? EPERM) & 0xffff)) >>> 0 : code;
}

function addArchitecture(library: Library, context: Context, name: string): number {
  const token = library.archResolve(name.replace(/^SCMP_ARCH_/, "").toLowerCase());
  if (token === 0) throw new SyscallError("seccomp_arch_resolve_name", 22, `no such architecture: ${name}`);
  const result = library.archAdd(context, token);
  if (result !== -EEXIST) checkedSeccomp("seccomp_arch_add", result);
  return token;
}

function addRule(
  library: Library,
  context: Context,
  action: number,
  name: string,
  args: readonly SeccompArgument[],
): void {
  const call = library.resolve(name);
  // __NR_SCMP_ERROR: a name that this libseccomp does not know.
  if (call === -1) return;
  // One comparison for each argument makes one rule; several on the same argument are alternatives, as runc has it.
  const twice = new Set(args.map(({ index }) => index)).size < args.length;
  for (const group of twice ? args.map((arg) => [arg]) : [args]) {
    const result = library.addRule(context, action, call, group.length, encodeArguments(group));
    // EACCES: the rule says what the default does. EEXIST: it is there already.
    if (result !== -EACCES && result !== -EEXIST) checkedSeccomp(`seccomp_rule_add ${name}`, result);
  }
}

/** struct scmp_arg_cmp: unsigned arg, enum op, uint64 a, uint64 b. */
function encodeArguments(args: readonly SeccompArgument[]): Buffer | null {
  if (args.length === 0) return null;
  const bytes = Buffer.alloc(24 * args.length);
  args.forEach(({ index, op, value, valueTwo }, position) => {
    const comparison = comparisons[op];
    if (comparison === undefined) throw new SyscallError("seccomp", 22, `no such comparison: ${op}`);
    const at = position * 24;
    bytes.writeUInt32LE(index, at);
    bytes.writeUInt32LE(comparison, at + 4);
    bytes.writeBigUInt64LE(BigInt(value), at + 8);
    bytes.writeBigUInt64LE(BigInt(valueTwo ?? 0), at + 16);
  });
  return bytes;
}

function highestNumber(library: Library, token: number, names: ReadonlySet<string>): number {
  let highest = 0;
  for (const name of names) highest = Math.max(highest, library.resolveFor(token, name));
  return highest;
}

function exportProgram(library: Library, context: Context): Buffer {
  const fd = checked("memfd_create", memfdCreate("seccomp", MFD_CLOEXEC));
  try {
    checkedSeccomp("seccomp_export_bpf", library.exportBpf(context, fd));
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

/** libseccomp answers with negative errnos. */
function checkedSeccomp(call: string, result: number): void {
  if (result < 0) throw new SyscallError(call, -result);
}
