/** An architecture of a filter, by libseccomp's token, with the highest system call number that the filter names for it. */
export interface HighestCall {
  readonly token: number;
  readonly number: number;
}

/**
 * Instructions to go before a filter's: a system call with a number above all that the filter knows answers ENOSYS ("this kernel
 * has no such call") in the place of the default. Without it a C library that is newer than the filter gets EPERM for calls that
 * it has a fallback for, and gives up.
 */
export function enosysPrologue(calls: readonly HighestCall[]): Buffer {
  const blocks = [...byAuditArchitecture(calls)].map(([architecture, highest]) => block(architecture, highest));
  const length = blocks.reduce((sum, instructions) => sum + instructions.length, 0);
  const bodies: Instruction[] = [];
  for (const instructions of blocks) {
    for (const instruction of instructions) {
      // The way to the filter leads over all that follows of the prologue, and over its return.
      const toFilter = length - bodies.length + 1;
      const toEnosys = toFilter - 1;
      bodies.push(resolve(instruction, toFilter, toEnosys));
    }
  }
  return encode([
    { code: LOAD, k: ARCHITECTURE },
    ...bodies,
    // Another architecture is the filter's to refuse.
    { code: JUMP, k: 1 },
    { code: RETURN, k: ERRNO | ENOSYS },
  ]);
}

/** struct sock_filter, with jumps by name where they leave their block. */
interface Instruction {
  readonly code: number;
  readonly k: number;
  readonly jt?: number | "filter" | "enosys";
  readonly jf?: number | "filter" | "enosys";
}

const LOAD = 0x20;
const JUMP = 0x05;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER = 0x25;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;
/** Offsets in struct seccomp_data. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const ERRNO = 0x0005_0000;
const ENOSYS = 38;
const X86_64 = 0xc000_003e;
/** libseccomp's token of x32, which the kernel calls x86-64 with a bit set in the number. */
const X32 = 0x4000_003e;
const X32_BIT = 0x4000_0000;

interface Highest {
  readonly plain: number | undefined;
  readonly x32: number | undefined;
}

function byAuditArchitecture(calls: readonly HighestCall[]): ReadonlyMap<number, Highest> {
  const found = new Map<number, Highest>();
  for (const { token, number } of calls) {
    const architecture = token === X32 ? X86_64 : token;
    const known = found.get(architecture) ?? { plain: undefined, x32: undefined };
    found.set(architecture, token === X32 ? { ...known, x32: number } : { ...known, plain: number });
  }
  return found;
}

/** Starts with the architecture loaded, and so does the next one when it is another. */
function block(architecture: number, { plain, x32 }: Highest): readonly Instruction[] {
  const limit = (number: number | undefined): Instruction =>
    number === undefined
      ? { code: JUMP_GREATER, k: 0, jt: "filter", jf: "filter" }
      : { code: JUMP_GREATER, k: number, jt: "enosys", jf: "filter" };
  const body: readonly Instruction[] =
    x32 === undefined
      ? [{ code: LOAD, k: NUMBER }, limit(plain)]
      : [{ code: LOAD, k: NUMBER }, { code: JUMP_ANY_BIT, k: X32_BIT, jt: 0, jf: 1 }, limit(x32), limit(plain)];
  return [{ code: JUMP_EQUAL, k: architecture, jt: 0, jf: body.length }, ...body];
}

function resolve(instruction: Instruction, toFilter: number, toEnosys: number): Instruction {
  const place = (jump: Instruction["jt"]) =>
    jump === "filter" ? toFilter : jump === "enosys" ? toEnosys : (jump ?? 0);
  return { ...instruction, jt: place(instruction.jt), jf: place(instruction.jf) };
}

function encode(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(instructions.length * 8);
  instructions.forEach(({ code, k, jt, jf }, index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(Number(jt ?? 0), index * 8 + 2);
    bytes.writeUInt8(Number(jf ?? 0), index * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
  });
  return bytes;
}
