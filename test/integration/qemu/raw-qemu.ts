import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";

/** A QEMU of a test's own, with a monitor at `qmp.sock` of its directory: no jail, no engine. Emulated; ended with the test. */
export class RawQemu implements AsyncDisposable {
  readonly dir: string;
  readonly monitor: string;
  /** What it wrote to stderr, once it has ended. */
  readonly words: Promise<string>;
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #isMine: boolean;

  private constructor(dir: string, words: readonly string[], isMine: boolean) {
    this.dir = dir;
    this.monitor = join(dir, "qmp.sock");
    this.#isMine = isMine;
    this.#child = spawn(
      "qemu-system-x86_64",
      ["-nodefaults", "-no-user-config", "-accel", "tcg", "-display", "none"].concat(
        ["-chardev", `socket,id=qmp,path=${this.monitor},server=on,wait=off`, "-mon", "chardev=qmp,mode=control"],
        words,
      ),
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.words = this.#child.stderr === null ? Promise.resolve("") : text(this.#child.stderr);
    this.exited = new Promise((resolve) => this.#child.once("exit", resolve));
  }

  /** Starts one with these words more, in `dir` where it is given. `words` may name it: a function gets it. */
  static async start(words: (dir: string) => readonly string[], dir?: string): Promise<RawQemu> {
    if (dir !== undefined) rmSync(join(dir, "qmp.sock"), { force: true });
    const directory = dir ?? mkdtempSync(join(tmpdir(), "berth-qemu-"));
    const qemu = new RawQemu(directory, words(directory), dir === undefined);
    for (let n = 0; n < 2000 && !existsSync(qemu.monitor); n++) {
      const code = await Promise.race([qemu.exited.then((exit) => exit ?? -1), delay(10).then(() => undefined)]);
      if (code !== undefined) throw new Error(`QEMU ended with ${code}: ${await qemu.words}`);
    }
    return qemu;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.exited;
    if (this.#isMine) rmSync(this.dir, { recursive: true, force: true });
  }
}
