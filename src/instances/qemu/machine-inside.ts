import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import type { OpContext } from "../../base/op-context.ts";
import type { DriverHandle } from "../../schema/instance.ts";
import type { Change } from "../../snapshots/snapshotter.ts";
import { withParents } from "../../snapshots/upper-changes.ts";
import type { DriverInside, GuestFile, GuestProcess, OutputFrame } from "../driver.ts";
import type { AgentChannel } from "./agent-channel.ts";
import { AgentError } from "./agent-channel.ts";
import { askAgent, openChannel } from "./ask-agent.ts";
import { machineErrors } from "./errors.ts";
import { machineOf } from "./handle.ts";

const ENOENT = 2;
const ENOTDIR = 20;

/** Files and processes of a running machine, through its agent. */
export const machineInside: DriverInside = {
  rests: true,

  async stat(ctx, handle, path): Promise<GuestFile | undefined> {
    try {
      const answer = new Map(
        await askAgent(ctx, machineOf(handle), [
          ["verb", "stat"],
          ["path", path],
        ]),
      );
      return {
        mode: Number(answer.get("mode")),
        size: Number(answer.get("size")),
        mtimeSeconds: Number(answer.get("mtime")),
        linkTarget: answer.get("link") ?? "",
      };
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      if (error.errno === ENOENT || error.errno === ENOTDIR) return undefined;
      throw machineErrors.AGENT_REFUSED({ verb: `look at ${path}`, reason: error.message }, { cause: error });
    }
  },

  async changes(ctx, handle): Promise<readonly Change[]> {
    const channel = await openChannel(machineOf(handle), [["verb", "changes"]]);
    const list = await buffer(Readable.from(outputOf(ctx, channel, "list the changes"), { objectMode: false }));
    return withParents(list.toString().split("\0").flatMap(changeOf));
  },

  async packChanges(ctx, handle, { freeze }): Promise<Readable> {
    const channel = await openChannel(machineOf(handle), [
      ["verb", "layer"],
      ...(freeze ? [["freeze", "1"] as const] : []),
    ]);
    return Readable.from(outputOf(ctx, channel, "pack the changes"), { objectMode: false });
  },

  async pack(ctx, handle, { path, name, follow, mounts }): Promise<Readable> {
    const channel = await openChannel(machineOf(handle), [
      ["verb", "pack"],
      ["path", path],
      ["name", name],
      ...(follow ? [["followlink", "1"] as const] : []),
      ...(mounts ? [] : [["bare", "1"] as const]),
    ]);
    return Readable.from(outputOf(ctx, channel, `pack ${path}`), { objectMode: false });
  },

  async unpack(ctx, handle, { directory, tar, owner, replace }): Promise<void> {
    const channel = await openChannel(machineOf(handle), [
      ["verb", "unpack"],
      ["path", directory],
      owner === undefined ? ["keepowner", "1"] : ["owner", owner],
      ...(replace ? [["replace", "1"] as const] : []),
    ]);
    try {
      const [complaint, code] = await Promise.all([
        complaintOf(channel),
        channel.exited,
        // Who has ended takes no more: the reason is its exit code.
        pipeline(tar, channel.stdin, { signal: ctx.signal }),
      ]);
      if (code !== 0) throw refusal("unpack the archive", complaint);
    } catch (error) {
      if (error instanceof AgentError) throw refusal("unpack the archive", error.message);
      throw error;
    } finally {
      channel.close();
    }
  },

  async processes(ctx: OpContext, handle: DriverHandle): Promise<readonly GuestProcess[]> {
    const answer = await askAgent(ctx, machineOf(handle), [["verb", "processes"]]);
    return answer.flatMap(([name, value]) => (name === "process" ? (processOf(value) ?? []) : []));
  },
};

/** What the agent writes, until it has ended well; else `AGENT_REFUSED` to do this. */
export async function* outputOf(ctx: OpContext, channel: AgentChannel, verb: string): AsyncGenerator<Uint8Array> {
  const abort = () => channel.close();
  ctx.signal.addEventListener("abort", abort, { once: true });
  let complaint = "";
  try {
    for await (const frame of channel.output) {
      const { stream, data }: OutputFrame = frame;
      if (stream === "stdout") yield data;
      else complaint += Buffer.from(data).toString();
    }
    if ((await channel.exited) !== 0) throw refusal(verb, complaint);
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (error instanceof AgentError) throw refusal(verb, error.message);
    throw error;
  } finally {
    ctx.signal.removeEventListener("abort", abort);
    channel.close();
  }
}

const kinds: Readonly<Record<string, Change["kind"]>> = { A: "added", C: "modified", D: "deleted" };

/** "A/path"; nothing for what is none. */
function changeOf(text: string): readonly Change[] {
  const kind = kinds[text.slice(0, 1)];
  return kind === undefined ? [] : [{ kind, path: text.slice(1) }];
}

async function complaintOf(channel: AgentChannel): Promise<string> {
  let text = "";
  for await (const frame of channel.output) {
    const { data }: OutputFrame = frame;
    text += Buffer.from(data).toString();
  }
  return text;
}

function refusal(verb: string, reason: string) {
  return machineErrors.AGENT_REFUSED({ verb, reason: reason.trim() });
}

/** "<pid> <ppid> <uid> <cpu ticks> <rss KiB> <state>\n<command line>". */
function processOf(text: string): readonly GuestProcess[] | undefined {
  const end = text.indexOf("\n");
  const [pid, ppid, uid, ticks] = text.slice(0, end).split(" ").map(Number);
  if (pid === undefined || ppid === undefined || uid === undefined || ticks === undefined) return undefined;
  // The guest's kernels have 100 ticks a second, as all do that we know.
  return [{ pid, ppid, uid, cpuSeconds: Math.floor(ticks / 100), command: text.slice(end + 1) }];
}
