import { setTimeout as delay } from "node:timers/promises";
import { Transform } from "node:stream";
import { isBerthError } from "../../../base/errors.ts";
import type { InstanceRecord } from "../../../schema/instance.ts";
import { AttachQuery, LogsQuery, StatsQuery } from "../../../schema/docker/container.ts";
import type { Static } from "typebox";
import type { LogLine } from "../../../instances/instance-service.ts";
import { logAttributes } from "../../../instances/logs/log-attributes.ts";
import { type Sample, statsJson, zeroStats } from "../codecs/stats-json.ts";
import { parseUnixMs } from "../codecs/timestamps.ts";
import { apiErrors } from "../errors.ts";
import { type Call, ok, type Route, route, streamed } from "../route.ts";
import { streamType, takeConnection, takeUpgradeSocket } from "../streams/connection.ts";
import { parseDetachKeys } from "../streams/detach-keys.ts";
import { JsonStream } from "../streams/json-stream.ts";
import { sendStream } from "../streams/send-stream.ts";
import { joinSession } from "../streams/session.ts";
import { stdcopyFrame } from "../streams/stdcopy.ts";
import { acceptWebSocket } from "../streams/websocket.ts";
import type { DockerBackend } from "../backend.ts";
import { isRunning } from "./containers.ts";

export const containerStreamRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/containers/{id}/logs",
    summary: "A container's logs, also as they come",
    query: LogsQuery,
    handle: sendLogs,
  }),
  route({
    method: "GET",
    path: "/containers/{id}/stats",
    summary: "What a container uses, once or every second",
    query: StatsQuery,
    handle: sendStats,
  }),
  route({
    method: "POST",
    path: "/containers/{id}/attach",
    summary: "Attach to a container's streams; the connection leaves HTTP",
    query: AttachQuery,
    handle: attach,
  }),
  route({
    method: "GET",
    path: "/containers/{id}/attach/ws",
    summary: "Attach over a WebSocket",
    query: AttachQuery,
    handle: attachWebSocket,
  }),
];

async function sendLogs(call: Call<Static<typeof LogsQuery>>) {
  const { backend, ctx, name, query, version } = call;
  if (!query.stdout && !query.stderr) {
    throw apiErrors.API_BAD_REQUEST({ message: "Bad parameters: you must choose at least one stream" });
  }
  const record = backend.instances.resolve(name);
  const since = parseUnixMs("since", query.since);
  const until = query.until === "0" ? undefined : parseUnixMs("until", query.until);
  const tail = tailLines(query.tail);
  const lines = await backend.instances.logs(ctx, record.id, {
    stdout: query.stdout,
    stderr: query.stderr,
    follow: query.follow,
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(tail === undefined ? {} : { tail }),
  });
  const { tty } = record.spec.process;
  const prefix = query.details ? Buffer.from(logDetails(record)) : undefined;
  const bytes = new Transform({
    writableObjectMode: true,
    transform(line: LogLine, _encoding, done) {
      const parts: Uint8Array[] = query.timestamps ? [Buffer.from(`${line.time} `)] : [];
      if (prefix !== undefined) parts.push(prefix);
      const data = parts.length === 0 ? line.data : Buffer.concat([...parts, line.data]);
      done(null, tty ? data : stdcopyFrame(line.stream, data));
    },
  });
  lines.once("error", (error) => bytes.destroy(error));
  bytes.once("close", () => lines.destroy());
  await sendStream(call, lines.pipe(bytes), streamType(version, tty));
  return streamed;
}

/** "all" and "" are undefined. What isn't a number is all as well, as in Docker. */
function tailLines(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** What the log's options put beside a line, "a=b,c=d ". */
function logDetails(record: InstanceRecord): string {
  const text = logAttributes(record).map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  return `${text.join(",")} `;
}

async function sendStats(call: Call<Static<typeof StatsQuery>>) {
  const { backend, ctx, name, query, reply, version } = call;
  const { cgroupVersion } = backend.system.facts;
  const record = backend.instances.resolve(name);
  if (!query.stream) {
    if (!isRunning(record)) return ok(zeroStats(record, cgroupVersion));
    if (query["one-shot"] && version.atLeast(41)) {
      return ok(statsJson(record, await sample(call, record.id), undefined, cgroupVersion));
    }
    const before = await sample(call, record.id);
    await delay(1000, undefined, { signal: ctx.signal });
    return ok(statsJson(record, await sample(call, record.id), before, cgroupVersion));
  }
  const stream = new JsonStream(reply, {});
  stream.start();
  let before: Sample | undefined;
  try {
    while (!ctx.signal.aborted) {
      // Removed meanwhile: the stream ends.
      const current = recordOf(backend, record.id);
      if (current === undefined) break;
      const now = isRunning(current) ? await sampleIfRunning(call, record.id) : undefined;
      stream.write(
        now === undefined ? zeroStats(current, cgroupVersion) : statsJson(current, now, before, cgroupVersion),
      );
      before = now;
      await delay(1000, undefined, { signal: ctx.signal });
    }
  } catch (error) {
    if (!ctx.signal.aborted) stream.fail(error);
  }
  stream.end();
  return streamed;
}

/** Undefined when it was removed. */
function recordOf({ instances }: Pick<DockerBackend, "instances">, id: string): InstanceRecord | undefined {
  try {
    return instances.resolve(id);
  } catch (error) {
    if (isBerthError(error) && error.status === 404) return undefined;
    throw error;
  }
}

async function sample({ backend, ctx }: Pick<Call, "backend" | "ctx">, id: string): Promise<Sample> {
  const [usage, clock] = await Promise.all([backend.instances.usage(ctx, id), backend.system.cpuClock()]);
  return { usage, clock };
}

/** It may end between the look at its record and the reading of its control group. */
async function sampleIfRunning(call: Pick<Call, "backend" | "ctx">, id: string): Promise<Sample | undefined> {
  try {
    return await sample(call, id);
  } catch (error) {
    const record = recordOf(call.backend, id);
    if (record === undefined || !isRunning(record)) return undefined;
    throw error;
  }
}

async function attach(call: Call<Static<typeof AttachQuery>>) {
  const { backend, ctx, name, query, version } = call;
  const detachKeys = parseDetachKeys(query.detachKeys);
  const session = await backend.instances.attach(ctx, name, attachOptions(query));
  const connection = takeConnection(call, streamType(version, session.tty));
  // The log is there at once: see the same in exec.
  if (query.logs) await connection.headRead();
  await joinSession(session, connection, { detachKeys, raw: session.tty, stdin: query.stdin });
  return streamed;
}

async function attachWebSocket(call: Call<Static<typeof AttachQuery>>) {
  const { backend, ctx, name, request, version } = call;
  const detachKeys = parseDetachKeys(call.query.detachKeys);
  // Before 1.42 a WebSocket always carried all three.
  const query = version.atLeast(42) ? call.query : { ...call.query, stdin: true, stdout: true, stderr: true };
  const session = await backend.instances.attach(ctx, name, attachOptions(query));
  const { socket, gone } = takeUpgradeSocket(call);
  const stream = acceptWebSocket(request.raw, socket, version.atLeast(28));
  const connection = { input: stream, output: stream, gone, headRead: async () => {}, close: () => void stream.end() };
  await joinSession(session, connection, { detachKeys, raw: true, stdin: query.stdin });
  return streamed;
}

function attachOptions(query: Static<typeof AttachQuery>) {
  const { stdin, stdout, stderr, logs, stream } = query;
  return { stdin: stdin && stream, stdout, stderr, logs, stream };
}
