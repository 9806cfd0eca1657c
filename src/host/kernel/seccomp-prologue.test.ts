import { expect, it } from "vitest";
import { enosysPrologue } from "./seccomp-prologue.ts";

const X86_64 = 0xc000_003e;
const X32 = 0x4000_003e;
const I386 = 0x4000_0003;
const AARCH64 = 0xc000_00b7;
const RETURN_ENOSYS = 0x0005_0026;

const program = enosysPrologue([
  { token: X86_64, number: 450 },
  { token: I386, number: 440 },
  { token: X32, number: 0x4000_0000 + 430 },
]);

/** Runs the instructions as the kernel would; undefined when they fall through to what follows. */
function run(architecture: number, number: number): number | undefined {
  let accumulator = 0;
  for (let at = 0; at < program.length; at += 8) {
    const k = program.readUInt32LE(at + 4);
    const jump = (taken: boolean) => program.readUInt8(at + (taken ? 2 : 3)) * 8;
    switch (program.readUInt16LE(at)) {
      case 0x20:
        accumulator = k === 0 ? number : architecture;
        break;
      case 0x05:
        at += k * 8;
        break;
      case 0x15:
        at += jump(accumulator === k);
        break;
      case 0x25:
        at += jump(accumulator > k);
        break;
      case 0x45:
        at += jump((accumulator & k) !== 0);
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`unknown instruction at ${at / 8}`);
    }
    if (at > program.length - 8) throw new Error("a jump leads out of the program");
  }
  return undefined;
}

it.each([
  ["x86-64", X86_64, 450],
  ["i386", I386, 440],
  ["x32", X86_64, 0x4000_0000 + 430],
])("leaves the calls that the filter knows to it, and says that newer ones do not exist: %s", (_, machine, highest) => {
  expect(run(machine, 0)).toBeUndefined();
  expect(run(machine, highest)).toBeUndefined();
  expect(run(machine, highest + 1)).toBe(RETURN_ENOSYS);
});

it("leaves another architecture to the filter, whatever the call", () => {
  expect(run(AARCH64, 9999)).toBeUndefined();
});

it("is empty but for its frame without architectures", () => {
  expect(enosysPrologue([]).length).toBe(3 * 8);
});
