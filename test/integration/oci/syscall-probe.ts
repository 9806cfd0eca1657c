/**
 * Programs that make many system calls with nonsense arguments (-1) and print what each answered: what a filter lets through
 * shows in the errno. Written as machine code, since a test machine has no compiler.
 */
export interface Probe {
  /** A static x86-64 executable. */
  readonly program: Uint8Array;
  /** System call numbers, in the order of the answers. */
  readonly numbers: readonly number[];
}

/** "x86-64" calls by `syscall`; "i386" by `int 0x80`, as 32-bit programs do. */
export function syscallProbe(machine: "x86-64" | "i386"): Probe {
  const { skip, call } = machines[machine];
  const numbers = Array.from({ length: 463 }, (_, number) => number).filter((number) => !skip.has(number));
  const calls = numbers.flatMap((number, index) => [...call(number), 0x49, 0x89, 0x87, ...int32(index * 8)]);
  const results = numbers.length * 8;
  const end = bytes(
    [0xb8, ...int32(1)], // write(1, results, length)
    [0xbf, ...int32(1)],
    [0x4c, 0x89, 0xfe],
    [0xba, ...int32(results)],
    [0x0f, 0x05],
    [0xb8, ...int32(60), 0xbf, ...int32(0), 0x0f, 0x05], // exit(0)
  );
  const begin = (address: number) => [0x49, 0xc7, 0xc7, ...int32(address)]; // r15 = results
  const length = headerSize + begin(0).length + calls.length + end.length;
  const code = [...begin(base + length), ...calls, ...end];
  return { program: Buffer.concat([elfHeader(length, results), Buffer.from(code)]), numbers };
}

/** What each call answered, by number: 0 or a negative errno; successes all count as 0. */
export function readAnswers(probe: Probe, output: Buffer): ReadonlyMap<number, number> {
  if (output.length !== probe.numbers.length * 8) throw new Error(`the probe wrote ${output.length} bytes`);
  // A 32-bit call's answer is in the lower half of the register.
  return new Map(probe.numbers.map((number, index) => [number, Math.min(0, output.readInt32LE(index * 8))]));
}

const base = 0x400000;
const headerSize = 64 + 56;
const minusOne = [0xff, 0xff, 0xff, 0xff];

const machines = {
  "x86-64": {
    // rt_sigreturn, pause, fork, vfork, exit, exit_group, uretprobe, uprobe: would not come back, or twice.
    skip: new Set([15, 34, 57, 58, 60, 231, 335, 336]),
    call: (number: number) =>
      bytes(
        [0x48, 0xc7, 0xc7, ...minusOne], // rdi
        [0x48, 0xc7, 0xc6, ...minusOne], // rsi
        [0x48, 0xc7, 0xc2, ...minusOne], // rdx
        [0x49, 0xc7, 0xc2, ...minusOne], // r10
        [0x49, 0xc7, 0xc0, ...minusOne], // r8
        [0x49, 0xc7, 0xc1, ...minusOne], // r9
        [0xb8, ...int32(number), 0x0f, 0x05],
      ),
  },
  i386: {
    // exit, fork, pause, sigsuspend, idle, sigreturn, rt_sigreturn, vfork, exit_group.
    skip: new Set([1, 2, 29, 72, 112, 119, 173, 190, 252]),
    call: (number: number) =>
      bytes(
        [0xbb, 0xb9, 0xba, 0xbe, 0xbf, 0xbd].flatMap((register) => [register, ...minusOne]), // ebx ecx edx esi edi ebp
        [0xb8, ...int32(number), 0xcd, 0x80],
      ),
  },
} as const;

function bytes(...instructions: readonly (readonly number[])[]): readonly number[] {
  return instructions.flat();
}

function int32(value: number): readonly number[] {
  const encoded = Buffer.alloc(4);
  encoded.writeInt32LE(value);
  return [...encoded];
}

/** elf(5): one segment that is read, written and executed; the results follow the code. */
function elfHeader(fileSize: number, results: number): Buffer {
  const header = Buffer.alloc(headerSize);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(62, 18); // EM_X86_64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(base + headerSize), 24); // entry
  header.writeBigUInt64LE(64n, 32); // program headers
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64); // PT_LOAD
  header.writeUInt32LE(7, 68); // RWX
  header.writeBigUInt64LE(BigInt(base), 80);
  header.writeBigUInt64LE(BigInt(base), 88);
  header.writeBigUInt64LE(BigInt(fileSize), 96);
  header.writeBigUInt64LE(BigInt(fileSize + results), 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return header;
}
