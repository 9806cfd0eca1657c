/**
 * The OCI runtimes and conmon, wrapped: put first on an engine's PATH they do what they always do, until they are told to fail.
 * A fault is armed by a file named by the verb ("create", "exec", "monitor", ...) and taken by the first program that sees it.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Fail at once; end well after a while; be killed at once; be killed in the middle of the work. */
export type ProgramFault = "fail" | "hang" | "die" | "half";
export const programFaults: readonly ProgramFault[] = ["fail", "hang", "die", "half"];
/** What can be told to fail. "monitor" is conmon itself. */
export const faultyVerbs = ["create", "create", "exec", "exec", "start", "kill", "delete", "monitor"] as const;
export type FaultyVerb = (typeof faultyVerbs)[number];

export class FailingPrograms {
  /** To be put first on the PATH. */
  readonly bin: string;
  readonly #armed: string;

  constructor(directory: string) {
    this.bin = join(directory, "bin");
    this.#armed = join(directory, "armed");
    mkdirSync(this.bin, { recursive: true });
    mkdirSync(this.#armed, { recursive: true });
    for (const name of ["crun", "runc", "conmon"]) {
      const real = pathOf(name);
      if (real === undefined) continue;
      writeFileSync(join(this.bin, name), name === "conmon" ? this.#monitor(real) : this.#runtime(real));
      chmodSync(join(this.bin, name), 0o755);
    }
  }

  arm(verb: FaultyVerb, fault: ProgramFault): void {
    // By rename: what is seen is whole.
    writeFileSync(join(this.#armed, ".next"), `${fault}\n`);
    renameSync(join(this.#armed, ".next"), join(this.#armed, verb));
  }

  disarm(): void {
    for (const name of readdirSync(this.#armed)) rmSync(join(this.#armed, name), { force: true });
  }

  #runtime(real: string): string {
    return `#!/bin/sh
verb=
for word; do
  case $word in create|start|exec|kill|delete|state|run|update) verb=$word; break;; esac
done
if [ -n "$verb" ] && [ -e ${this.#armed}/$verb ] && mv ${this.#armed}/$verb ${this.#armed}/.taken.$$ 2>/dev/null; then
  read -r fault <${this.#armed}/.taken.$$
  rm -f ${this.#armed}/.taken.$$
  case $fault in
    fail) echo "the runtime was told to fail" >&2; exit 1;;
    hang) sleep 2;;
    die) kill -9 $$;;
    half)
      # With descriptor 0 as it is: a shell gives what it runs in the background /dev/null.
      ${real} "$@" <&0 &
      sleep 0.01
      kill -9 $! 2>/dev/null
      exit 137;;
  esac
fi
exec ${real} "$@"
`;
  }

  #monitor(real: string): string {
    return `#!/bin/sh
if [ -e ${this.#armed}/monitor ] && mv ${this.#armed}/monitor ${this.#armed}/.taken.$$ 2>/dev/null; then
  read -r fault <${this.#armed}/.taken.$$
  rm -f ${this.#armed}/.taken.$$
  case $fault in
    fail) exit 1;;
    hang) sleep 2;;
    die) kill -9 $$;;
    half) (exec 3>&- 4>&- 5>&-; sleep 0.03; kill -9 $$) >/dev/null 2>&1 & ;;
  esac
fi
exec ${real} "$@"
`;
  }
}

function pathOf(program: string): string | undefined {
  try {
    const path = execFileSync("sh", ["-c", `command -v ${program}`], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/local/sbin:/usr/sbin:/sbin` },
    }).trim();
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined; // Not installed: the engine will do without it.
  }
}
