/** What happens in a build, kept for whoever asks: clients may come late, and every one is told from the beginning. */
import { setTimeout as delay } from "node:timers/promises";
import type { ProgressEvent } from "../base/progress.ts";
import type { VertexSink } from "../build/vertex-output.ts";
import type { StatusResponse, VertexStatus } from "./wire/control.ts";

type Status = Partial<StatusResponse>;

interface KnownVertex {
  readonly digest: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly started: Time;
}

type Time = { readonly seconds: number; readonly nanos: number };

/** As BuildKit: a step that says more is cut off. */
const logLimitBytes = 2 << 20;
/** So long are events gathered into one message. */
const gatherMs = 20;

export class StatusLog implements VertexSink {
  readonly #events: Status[] = [];
  readonly #vertices = new Map<string, KnownVertex>();
  readonly #logged = new Map<string, number>();
  readonly #parts = new Map<string, Time>();
  #changed = Promise.withResolvers<void>();
  #ended = false;
  #stepsEndedAt: Time | undefined;

  started(vertex: { readonly id: string; readonly name: string; readonly inputs: readonly string[] }): void {
    const known = { digest: vertex.id, name: vertex.name, inputs: vertex.inputs, started: now() };
    this.#vertices.set(vertex.id, known);
    this.#add({ vertexes: [known] });
  }

  /** What the image is made in, after the steps: it began when they ended. */
  startedAfterSteps(vertex: { readonly id: string; readonly name: string }): void {
    const known = { digest: vertex.id, name: vertex.name, inputs: [], started: this.#stepsEndedAt ?? now() };
    this.#vertices.set(vertex.id, known);
    this.#add({ vertexes: [known] });
  }

  completed(id: string, { cached, error }: { readonly cached: boolean; readonly error?: string }): void {
    const known = this.#vertices.get(id);
    if (known === undefined) return;
    this.#vertices.delete(id);
    this.#add({ vertexes: [{ ...known, completed: now(), cached, ...(error === undefined ? {} : { error }) }] });
  }

  log(id: string, stream: "stdout" | "stderr", text: string): void {
    const before = this.#logged.get(id) ?? 0;
    if (before > logLimitBytes) return;
    const whole = Buffer.from(text, "utf8");
    this.#logged.set(id, before + whole.length);
    const clipped = before + whole.length > logLimitBytes;
    const msg = clipped
      ? Buffer.concat([
          whole.subarray(0, logLimitBytes - before),
          Buffer.from("\n[output clipped, log limit 2MiB reached]\n"),
        ])
      : whole;
    this.#add({ logs: [{ vertex: id, timestamp: now(), stream: stream === "stdout" ? 1 : 2, msg }] });
  }

  progress(id: string, event: ProgressEvent): void {
    if (event.id === undefined || event.status === undefined) return;
    this.part(id, event.id, {
      current: event.current ?? 0,
      total: event.total ?? 0,
      done: /complete|exists/i.test(event.status),
    });
  }

  /** A line below a vertex: "transferring context:". */
  part(
    vertex: string,
    name: string,
    { current = 0, total = 0, done }: { readonly current?: number; readonly total?: number; readonly done: boolean },
  ): void {
    const key = `${vertex} ${name}`;
    const started = this.#parts.get(key) ?? now();
    this.#parts.set(key, started);
    const timestamp = now();
    const status: Partial<VertexStatus> = { ID: name, vertex, current, total, timestamp, started };
    this.#add({ statuses: [done ? { ...status, completed: timestamp } : status] });
  }

  stepsEnded(): void {
    this.#stepsEndedAt = now();
  }

  /** Nothing more comes; what has not completed did not. */
  end(error?: string): void {
    for (const id of this.#vertices.keys()) this.completed(id, { cached: false, error: error ?? "context canceled" });
    this.#ended = true;
    this.#changed.resolve();
  }

  /** From the beginning to the end, in as few messages as keep up with the build. */
  async *read(signal?: AbortSignal): AsyncGenerator<Status> {
    const aborted = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => aborted.resolve(), { once: true });
    for (let at = 0; signal?.aborted !== true; ) {
      if (at === this.#events.length) {
        if (this.#ended) return;
        await Promise.race([this.#changed.promise, aborted.promise]);
        if (!this.#ended) await delay(gatherMs);
        continue;
      }
      const events = this.#events.slice(at, at + 500);
      at += events.length;
      yield {
        vertexes: events.flatMap(({ vertexes = [] }) => vertexes),
        statuses: events.flatMap(({ statuses = [] }) => statuses),
        logs: events.flatMap(({ logs = [] }) => logs),
        warnings: events.flatMap(({ warnings = [] }) => warnings),
      };
    }
  }

  #add(event: Status): void {
    this.#events.push(event);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

function now(): Time {
  const ms = Date.now();
  return { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
}
