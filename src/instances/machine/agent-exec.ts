/**
 * Commands in a guest of its own, by qemu-guest-agent. It takes the whole input with a command and has the whole output at its end, so
 * that nothing streams: input is collected until it ends, and output comes when the command has. There are no terminals.
 */
import { PassThrough, Writable } from "node:stream";
import { isBerthError, messageOf } from "../../base/errors.ts";
import { background, type OpContext } from "../../base/op-context.ts";
import { type GuestCommand, startInGuest, waitInGuest } from "../../qemu/guest-exec.ts";
import type { GuestAgent } from "../../qemu/qga-client.ts";
import type { ExecRequest, ExecTask, OutputFrame } from "../driver.ts";
import { driverErrors } from "../driver-errors.ts";
import { hardwareErrors } from "./errors.ts";

/** The agent takes a command as one JSON text, for which it needs several times the room. */
const maxInputBytes = 8 * 1024 * 1024;
/** Of a command whose machine, or whose agent, has gone. */
const lostCode = 137;

export async function execByAgent(
  ctx: OpContext,
  agent: GuestAgent,
  id: string,
  request: ExecRequest,
): Promise<ExecTask> {
  if (request.tty) throw hardwareErrors.AGENT_HAS_NO_TERMINAL({ id });
  const output = new PassThrough({ objectMode: true });
  let pid = 0;
  const begin = async (begun: OpContext, input?: Uint8Array) => {
    pid = await startCommand(begun, agent, request, input);
    return pid;
  };
  // What has begun is seen to its end, whoever asked for it.
  const own = background(ctx.log);
  const finish = async () => {
    const { code, stdout, stderr, isTruncated } = await waitInGuest(own, agent, pid);
    write(output, "stdout", stdout);
    write(output, "stderr", stderr);
    if (isTruncated) write(output, "stderr", Buffer.from("berth: the guest's agent kept 16 MiB of its output\n"));
    return code;
  };
  const collected = request.stdin ? collectInput() : undefined;
  if (collected === undefined) await begin(ctx);
  const running = collected === undefined ? finish() : collected.input.then((input) => begin(own, input)).then(finish);
  const exited = running
    .catch((error: unknown) => {
      write(output, "stderr", Buffer.from(`berth: ${messageOf(error)}\n`));
      return isBerthError(error, "COMMAND_NOT_FOUND")
        ? 127
        : isBerthError(error, "COMMAND_NOT_EXECUTABLE")
          ? 126
          : lostCode;
    })
    .finally(() => output.end());
  return {
    pid,
    io: { output, stdin: collected?.stdin, detach: () => void output.resume() },
    exited,
    resize: async () => {
      throw driverErrors.TASK_HAS_NO_TTY({ id: request.execId });
    },
    signal: async (signal) => {
      if (pid === 0) throw driverErrors.TASK_NOT_RUNNING({ id: request.execId });
      await startInGuest(own, agent, { argv: ["kill", `-${signal}`, String(pid)], capture: false });
    },
  };
}

async function startCommand(
  ctx: OpContext,
  agent: GuestAgent,
  request: ExecRequest,
  input: Uint8Array | undefined,
): Promise<number> {
  const command: GuestCommand = {
    argv: guestArgv(request),
    env: request.env,
    capture: !request.detached,
    ...(input === undefined ? {} : { input }),
  };
  try {
    return await startInGuest(ctx, agent, command);
  } catch (error) {
    throw startFailure(request, error);
  }
}

/** The agent starts commands as the guest's root in "/": another user or directory is for the guest's own programs. */
export function guestArgv(request: Pick<ExecRequest, "argv" | "user" | "workingDir">): readonly [string, ...string[]] {
  const { user, workingDir } = request;
  const [program = "", ...rest] = request.argv;
  const argv: readonly [string, ...string[]] =
    workingDir === "" || workingDir === "/"
      ? [program, ...rest]
      : ["/bin/sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", workingDir, program, ...rest];
  const [name = "", group = ""] = user.split(":");
  if (name === "" || name === "root" || name === "0") return argv;
  if (group === "") return ["runuser", "-u", name, "--", ...argv];
  return ["runuser", "-u", name, "-g", group, "--", ...argv];
}

/** As an OCI runtime says it, of which clients make the exit codes 127 and 126. */
function startFailure({ argv }: ExecRequest, error: unknown): unknown {
  const text = messageOf(error);
  if (!isBerthError(error, "QGA_REFUSED") || !text.includes("Failed to execute child process")) return error;
  const [command = ""] = argv;
  const failure = (reason: string) => ({ step: "exec" as const, command, reason: `exec: "${command}": ${reason}` });
  if (!/Permission denied/.test(text)) {
    const reason = command.includes("/")
      ? `stat ${command}: no such file or directory`
      : "executable file not found in $PATH";
    return driverErrors.COMMAND_NOT_FOUND(failure(reason), { cause: error });
  }
  return driverErrors.COMMAND_NOT_EXECUTABLE(failure("permission denied"), { cause: error });
}

function collectInput(): { readonly input: Promise<Uint8Array>; readonly stdin: Writable } {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const stdin = new Writable({
    write(piece: Uint8Array, _encoding, done) {
      bytes += piece.length;
      pieces.push(piece);
      done(
        bytes > maxInputBytes ? hardwareErrors.AGENT_INPUT_TOO_LARGE({ mebibytes: maxInputBytes / 1024 ** 2 }) : null,
      );
    },
    final(done) {
      resolve(Buffer.concat(pieces));
      done();
    },
  });
  stdin.on("error", reject);
  stdin.on("close", () => resolve(Buffer.concat(pieces)));
  return { input: promise, stdin };
}

function write(output: PassThrough, stream: OutputFrame["stream"], data: Buffer): void {
  if (data.length > 0) output.write({ stream, data } satisfies OutputFrame);
}
