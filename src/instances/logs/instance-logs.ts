import { Readable } from "node:stream";
import { callbackify } from "node:util";
import type { OpContext } from "../../base/op-context.ts";
import { instanceErrors } from "../errors.ts";
import type { LogLine, LogOptions } from "../instance-service.ts";
import { logPath, type Parts } from "../parts.ts";
import { resolveInstance } from "../resolve.ts";
import { followLog } from "./follow-log.ts";
import { openLogFiles } from "./log-files.ts";
import { readLog } from "./read-log.ts";

/** See {@link InstanceService.logs}. Following ends when the run does; of a stopped instance there is nothing to follow. */
export async function instanceLogs(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  options: LogOptions,
): Promise<Readable> {
  if (!options.stdout && !options.stderr) throw instanceErrors.LOGS_NO_STREAM({});
  const { id, spec, state } = resolveInstance(parts.records, nameOrId);
  if (state.status === "removing" || state.status === "dead") throw instanceErrors.LOGS_OF_DEAD({});
  if (spec.log.driver === "none") throw instanceErrors.LOGS_NOT_READABLE({});
  const path = logPath(parts, id);
  const { run } = parts.lives.of(id);
  if (!options.follow || run === undefined) return Readable.from(readWhole(path, options), { objectMode: true });

  const gone = new AbortController();
  const readerGone = AbortSignal.any([gone.signal, ctx.signal, parts.background.closing]);
  const lines = followLog(path, { ...options, writerEnded: run.ended.signal, readerGone, clock: parts.clock });
  return new Readable({
    objectMode: true,
    read() {
      lines.next().then(
        (next) => this.push(next.done === true ? null : next.value),
        (error: unknown) => this.destroy(error instanceof Error ? error : new Error(String(error))),
      );
    },
    // First the signal: the generator can't be told to return while it waits for lines.
    destroy(error, done) {
      gone.abort(new Error("the reader has gone"));
      callbackify(() => lines.return(undefined))((failure) => done(error ?? failure));
    },
  });
}

async function* readWhole(path: string, options: LogOptions): AsyncGenerator<LogLine> {
  await using files = await openLogFiles(path);
  yield* readLog(files, options);
}
