import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/**
 * The smallest guest that has memory and a disk to lose: a boot sector that keeps a count in memory and, when told to, in the disk's
 * second sector. It takes orders on the serial port or, where the firmware has taken that one over, by the firmware's keyboard: + counts, ? tells the count, w writes it to the disk, r tells what the disk has, . is answered with a dot.
 */
const source = `
.code16
start:
  xor %ax, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0x7c00, %sp
  mov %dl, drive
  mov $'!', %al
  call send
next:
  sti
  hlt
  mov $0x3fd, %dx
  in %dx, %al
  test $1, %al
  jz keyboard
  mov $0x3f8, %dx
  in %dx, %al
  jmp obey
keyboard:
  mov $1, %ah
  int $0x16
  jz next
  xor %ah, %ah
  int $0x16
obey:
  cmp $'+', %al
  je add_one
  cmp $'?', %al
  je tell
  cmp $'w', %al
  je write
  cmp $'r', %al
  je read
  cmp $'.', %al
  je echo
  jmp next
add_one:
  incb count
tell:
  mov count, %al
  add $'0', %al
  call send
  jmp next
write:
  mov count, %al
  mov %al, 0x8000
  mov $0x0301, %ax
  call disk
  mov 0x8000, %al
  add $'0', %al
  call send
  jmp next
read:
  mov $0x0201, %ax
  call disk
  mov 0x8000, %al
  add $'0', %al
  call send
  jmp next
disk:
  mov $0x8000, %bx
  mov $2, %cx
  xor %dh, %dh
  mov drive, %dl
  int $0x13
  ret
echo:
  call send
  jmp next
send:
  push %ax
  mov $0x3fd, %dx
1: in %dx, %al
  test $0x20, %al
  jz 1b
  pop %ax
  mov $0x3f8, %dx
  out %al, %dx
  ret
count: .byte 0
drive: .byte 0
.org 510
.word 0xaa55
`;

/** Makes `disk.qcow2` in `dir`, bootable, of one MiB. */
export function makeCounterDisk(dir: string): string {
  const at = (name: string) => join(dir, name);
  writeFileSync(at("boot.s"), source);
  execFileSync("as", ["--32", "-o", at("boot.o"), at("boot.s")]);
  execFileSync("ld", [
    "-m",
    "elf_i386",
    "-e",
    "0",
    "-Ttext",
    "0x7c00",
    "--oformat",
    "binary",
    "-o",
    at("boot.bin"),
    at("boot.o"),
  ]);
  const disk = Buffer.alloc(1024 * 1024);
  readFileSync(at("boot.bin")).copy(disk);
  writeFileSync(at("disk.raw"), disk);
  execFileSync("qemu-img", ["convert", "-O", "qcow2", at("disk.raw"), at("disk.qcow2")]);
  return at("disk.qcow2");
}

/** QEMU's words for a machine of {@link makeCounterDisk}'s disk, node "vda", with its serial port at `serial.sock`. */
export function counterMachine(dir: string): readonly string[] {
  return [
    ["-M", "q35", "-m", "16"],
    ["-blockdev", `driver=file,node-name=vda-file,filename=${join(dir, "disk.qcow2")}`],
    ["-blockdev", "driver=qcow2,node-name=vda,file=vda-file"],
    ["-device", "virtio-blk-pci,drive=vda,id=vda,serial=vda"],
    ["-chardev", `socket,id=serial,path=${join(dir, "serial.sock")},server=on,wait=off`, "-serial", "chardev:serial"],
  ].flat();
}

export class CounterGuest {
  readonly #socket: Socket;
  #seen = "";

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.#seen += bytes.toString();
    });
  }

  /** Connects, and waits until it takes orders. */
  static async open(dir: string): Promise<CounterGuest> {
    const socket = connect(join(dir, "serial.sock"));
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    const guest = new CounterGuest(socket);
    for (let n = 0; n < 200; n++) {
      const before = guest.#seen.length;
      socket.write("?");
      for (let m = 0; m < 20 && guest.#seen.length === before; m++) await delay(25);
      if (/\d$/.test(guest.#seen)) break;
    }
    // The firmware may have kept several of the questions: what it answers before the dot is to them.
    guest.#seen = "";
    socket.write(".");
    for (let n = 0; n < 1000 && !guest.#seen.includes("."); n++) await delay(10);
    return guest;
  }

  /** The digit that it answers with. */
  async ask(order: "+" | "?" | "w" | "r"): Promise<number> {
    this.#seen = "";
    this.#socket.write(order);
    for (let n = 0; n < 1000 && this.#seen === ""; n++) await delay(10);
    return Number(this.#seen);
  }

  close(): void {
    this.#socket.destroy();
  }
}
