/** The container calls that several cases time at the raw API. */
import { readAll } from "../src/client/engine-client.ts";
import { type MeasuredEngine, smallImage } from "./measured-engine.ts";

export interface ContainerOptions {
  readonly name?: string;
  readonly command: readonly string[];
  /** As HostConfig.NetworkMode has it. */
  readonly network?: "none" | "bridge";
  readonly autoRemove?: boolean;
  readonly runtime?: "vm";
}

/** A sleep that the first signal ends: as pid 1 it would ignore the polite one, and every engine would wait for ten seconds. */
export const sleeper: readonly string[] = ["sleep", "100000"];
export const killAtStop: readonly string[] = ["--stop-signal", "KILL"];

export async function createContainer(engine: MeasuredEngine, options: ContainerOptions): Promise<string> {
  const runtime = options.runtime === undefined ? {} : { Runtime: options.runtime };
  const { Id } = await engine.api.call<{ readonly Id: string }>("POST", "/containers/create", {
    query: { name: options.name ?? engine.nextName() },
    body: {
      Image: smallImage,
      Cmd: options.command,
      StopSignal: "SIGKILL",
      HostConfig: { NetworkMode: options.network ?? "bridge", AutoRemove: options.autoRemove ?? false, ...runtime },
    },
  });
  return Id;
}

export async function startContainer(engine: MeasuredEngine, id: string): Promise<void> {
  await engine.api.call("POST", `/containers/${id}/start`);
}

export async function removeContainer(engine: MeasuredEngine, id: string): Promise<void> {
  await engine.api.call("DELETE", `/containers/${id}`, { query: { force: 1 } });
}

/** Resolves when the container's next run has ended; asked before the start, so that a short one is not missed. */
export async function nextExit(engine: MeasuredEngine, id: string): Promise<void> {
  const { body } = await engine.api.stream("POST", `/containers/${id}/wait`, { query: { condition: "next-exit" } });
  await readAll(body);
}

/** Runs a command in a running container to its end. */
export async function execute(engine: MeasuredEngine, id: string, command: readonly string[]): Promise<void> {
  const { Id } = await engine.api.call<{ readonly Id: string }>("POST", `/containers/${id}/exec`, {
    body: { Cmd: command, AttachStdout: true, AttachStderr: true },
  });
  const { body } = await engine.api.stream("POST", `/exec/${Id}/start`, { body: { Detach: false, Tty: false } });
  await readAll(body);
}

/** Runs `work` for each item, `width` at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}
