import { errnoOf } from "../../host/errors.ts";
import { failpoints } from "../../host/failpoints.ts";
import { type OpContext, withTimeout } from "../../base/op-context.ts";
import { connectUnix } from "../../qemu/unix-socket.ts";
import { liveErrors } from "./errors.ts";

const limitMs = 20_000;
const maxAnswer = 1024;

/** Has berth-vmm (guest/vmm/machine.c) make the interface of the machine's namespace QEMU's back-end `name`. `CARD_NOT_JOINED`. */
export async function joinCard(ctx: OpContext, socketPath: string, interfaceName: string, name: string): Promise<void> {
  if (failpoints.on) {
    const failure = () => liveErrors.CARD_NOT_JOINED({ device: name, reason: "failpoint" });
    await failpoints.before("qemu.command", `nic ${interfaceName} ${name}`, failure);
  }
  const answer = await request(ctx, socketPath, `nic ${interfaceName} ${name}\n`);
  if (answer !== "ok")
    throw liveErrors.CARD_NOT_JOINED({ device: name, reason: answer.replace(/^error /, "") || "no answer" });
}

async function request(ctx: OpContext, socketPath: string, line: string): Promise<string> {
  const { signal } = withTimeout(ctx, limitMs);
  try {
    const socket = await connectUnix(ctx, socketPath);
    const abort = () => socket.destroy();
    signal.addEventListener("abort", abort, { once: true });
    try {
      socket.write(line);
      let answer = "";
      for await (const bytes of socket) {
        answer += String(bytes);
        if (answer.includes("\n") || answer.length > maxAnswer) break;
      }
      return answer.trim();
    } finally {
      signal.removeEventListener("abort", abort);
      socket.destroy();
    }
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (errnoOf(error) === undefined) throw error;
    return "error the machine has gone";
  }
}
