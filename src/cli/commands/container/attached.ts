import { readAll } from "../../../client/engine-client.ts";
import type { CliContext } from "../../command.ts";
import { forwardSignals } from "../../terminal/signals.ts";
import { followSize, joinStreams } from "../../terminal/streams.ts";

export interface AttachedRun {
  readonly id: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly detachKeys: string | undefined;
  readonly sigProxy: boolean;
  /** What the exit code is waited for with. */
  readonly condition: "not-running" | "next-exit" | "removed";
  /** Starts it, once we are attached and waiting. */
  readonly begin?: () => Promise<void>;
}

/** Joins a container's streams until it ends (its exit code becomes ours) or the user types the detach keys. */
export async function attachUntilExit(ctx: CliContext, attached: AttachedRun): Promise<void> {
  const { id, tty, stdin, stdout, stderr, detachKeys, condition } = attached;
  const streams = await ctx.client.upgrade("POST", `/containers/${id}/attach`, {
    query: { stream: true, stdin, stdout, stderr, detachKeys },
  });
  const waiting = await ctx.client.stream("POST", `/containers/${id}/wait`, { query: { condition } });
  await attached.begin?.();
  using _signals =
    tty || !attached.sigProxy
      ? undefined
      : forwardSignals((signal) => ctx.client.call("POST", `/containers/${id}/kill`, { query: { signal } }));
  using _size = tty
    ? followSize(ctx, ({ rows, columns }) =>
        ctx.client.call("POST", `/containers/${id}/resize`, { query: { h: rows, w: columns } }),
      )
    : undefined;
  const outcome = await joinStreams(ctx, streams, { tty, stdin, detachKeys });
  if (outcome === "detached") {
    waiting.body.destroy();
    return;
  }
  const { StatusCode } = JSON.parse(await readAll(waiting.body)) as { StatusCode: number };
  ctx.setExitCode(StatusCode);
}
