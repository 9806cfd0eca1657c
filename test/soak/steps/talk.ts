/** What is said to running containers and what they say: exec, attach, logs, and data written into a volume. */
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { FrameDecoder, type Frame } from "../../../src/client/output-frames.ts";
import type { Condition } from "../conditions.ts";
import { faultInLines } from "../numbered-lines.ts";
import type { SoakClient } from "../soak-client.ts";
import { converse } from "./streams.ts";

/** What a failing runtime or monitor does to a command it tells by the exit code; with the right one, the output has to be right too. */
export function runtimeExcuses(code: number | null, wanted: number): readonly Condition[] {
  return code === wanted ? [] : ["runtime fails"];
}

interface ExecOptions {
  readonly cmd: readonly string[];
  readonly tty?: boolean;
  readonly input?: string;
}

/** Runs a command in a container and waits for its end. */
async function exec(client: SoakClient, name: string, { cmd, tty = false, input }: ExecOptions) {
  const { Id } = await client.call<{ Id: string }>("POST", `/containers/${name}/exec`, {
    body: { Cmd: cmd, Tty: tty, AttachStdin: input !== undefined, AttachStdout: true, AttachStderr: true },
  });
  const connection = await client.upgrade("POST", `/exec/${Id}/start`, { body: { Detach: false, Tty: tty } });
  const output = await converse(connection, tty, input);
  const { ExitCode, Running } = await client.call<{ ExitCode: number | null; Running: boolean }>(
    "GET",
    `/exec/${Id}/json`,
  );
  return { ...output, code: ExitCode, running: Running };
}

/**
 * A random exec, and whether what came of it is right. `ending`: the container may be stopped under it. One that may end or be
 * started again at any moment can refuse or end the command, which its exit code tells; with the right code the output has to be right.
 */
export async function execSomething(client: SoakClient, name: string, { ending = false } = {}): Promise<void> {
  const { random } = client;
  const mark = random.mark();
  const check = <T extends { readonly code: number | null }>(what: string, seen: T, wanted: T & { code: number }) => {
    const mayEnd = ending || (client.isUnsteady(name) && seen.code !== wanted.code);
    if (JSON.stringify(seen) !== JSON.stringify(wanted) && !mayEnd)
      client.complain(
        `${what} in ${name}: ${JSON.stringify(seen)}, not ${JSON.stringify(wanted)}`,
        runtimeExcuses(seen.code, wanted.code),
      );
  };
  await random.weighted<() => Promise<void>>([
    [
      3,
      async () => {
        const code = random.between(0, 7);
        const cmd = ["sh", "-c", `echo out ${mark}; echo err ${mark} >&2; exit ${code}`];
        const seen = await exec(client, name, { cmd });
        check("exec", seen, { stdout: `out ${mark}\n`, stderr: `err ${mark}\n`, code, running: false });
      },
    ],
    [
      2,
      async () => {
        const { Id } = await client.call<{ Id: string }>("POST", `/containers/${name}/exec`, {
          body: { Cmd: ["sh", "-c", "sleep 0.2; exit 5"] },
        });
        await client.call("POST", `/exec/${Id}/start`, { body: { Detach: true } });
        await sleep(random.between(0, 400));
      },
    ],
    [
      2,
      async () => {
        const cmd = ["sh", "-c", `test -t 1 && echo tty ${mark}; exit 4`];
        const seen = await exec(client, name, { cmd, tty: true });
        check("exec -t", seen, { stdout: `tty ${mark}\r\n`, stderr: "", code: 4, running: false });
      },
    ],
    [
      2,
      async () => {
        const input = `${mark}\n`.repeat(random.pick([1, 100, 20_000]));
        const seen = await exec(client, name, { cmd: ["cat"], input });
        const { length } = seen.stdout;
        const same = seen.stdout === input;
        check("exec -i cat", { length, same, code: seen.code }, { length: input.length, same: true, code: 0 });
      },
    ],
  ])();
}

/** What was written and answered is there, now and after every kill. */
export async function writeVolume(client: SoakClient, name: string): Promise<void> {
  const key = `volume ${client.name}-v`;
  const mark = client.random.mark();
  client.facts.doubt(key, `mark:${mark}`);
  const seen = await exec(client, name, {
    cmd: ["sh", "-c", `echo ${mark} >/named/next && sync /named/next && mv /named/next /named/mark`],
  });
  if (seen.code === 0) client.facts.know(key, `mark:${mark}`);
  else if (!client.isUnsteady(name))
    client.complain(`writing to the volume of ${name}: ${seen.code} ${seen.stderr}`, ["runtime fails", "disk full"]);
}

/** All of the log: whole lines, in order, from the first. */
export async function readLogs(client: SoakClient, name: string): Promise<void> {
  const lines = await frames(await client.stream("GET", `/containers/${name}/logs`, { query: { stdout: true } }));
  checkLines(client, name, "the log", lines, true);
}

/** As `docker logs -f --tail N` for a while. */
export async function followLogs(client: SoakClient, name: string): Promise<void> {
  const tail = client.random.pick(["all", "0", "3"]);
  const stop = new AbortController();
  const query = { stdout: true, follow: true, tail };
  const body = await client.stream("GET", `/containers/${name}/logs`, { query, signal: stop.signal });
  const timer = setTimeout(() => stop.abort(), client.random.between(100, 1500));
  const lines = await frames(body, stop.signal);
  clearTimeout(timer);
  checkLines(
    client,
    name,
    `the log followed from ${tail}`,
    lines.slice(0, lines.lastIndexOf("\n") + 1),
    tail === "all",
  );
}

/** As `docker attach` for a while; then the client leaves. */
export async function attachFor(client: SoakClient, name: string): Promise<void> {
  const logs = client.random.chance(0.3);
  const connection = await client.upgrade("POST", `/containers/${name}/attach`, {
    query: { stream: true, stdout: true, logs },
  });
  setTimeout(() => connection.socket.destroy(), client.random.between(50, 1200));
  const { stdout } = await converse(connection, false).catch(() => ({ stdout: "" }));
  // First its log is read, then its stream is joined, as in Docker: what is written in between is in neither.
  checkLines(client, name, "what was attached to", stdout.slice(0, stdout.lastIndexOf("\n") + 1), false, logs);
}

function checkLines(
  client: SoakClient,
  name: string,
  what: string,
  lines: string,
  fromStart: boolean,
  seam = false,
): void {
  const fault = faultInLines(lines, { fromStart, seam });
  if (fault !== undefined && !client.torn.has(name)) client.complain(`${what} of ${name}: ${fault}`, ["disk full"]);
}

/** The text of a stream of frames, to its end or until the client has `left`. */
export async function frames(body: NodeJS.ReadableStream, left?: AbortSignal): Promise<string> {
  const decoder = new FrameDecoder();
  body.on("error", (error) => decoder.destroy(error));
  let lines = "";
  try {
    for await (const frame of body.pipe(decoder)) lines += (frame as Frame).data.toString("utf8");
  } catch (error) {
    if (left?.aborted !== true) throw error;
  }
  return lines;
}

/** `run --rm`: attached from the start, its output whole, its code right, and gone afterwards. */
export async function runOnce(
  client: SoakClient,
  options: { readonly image: string; readonly cmd: readonly string[]; readonly tty?: boolean; readonly host?: object },
): Promise<{ readonly stdout: string; readonly code: number }> {
  const { image, cmd, tty = false, host } = options;
  const name = client.fresh("run");
  client.passing.add(name);
  const { Id } = await client.call<{ Id: string }>("POST", "/containers/create", {
    query: { name },
    body: { Image: image, Cmd: cmd, Tty: tty, AttachStdout: true, HostConfig: { AutoRemove: true, ...host } },
  });
  try {
    const query = { stream: true, stdout: true, stderr: true };
    const output = converse(await client.upgrade("POST", `/containers/${Id}/attach`, { query }), tty);
    const [waiting, { stdout }] = await Promise.all([
      client.stream("POST", `/containers/${Id}/wait`, { query: { condition: "removed" } }),
      output,
      client.call("POST", `/containers/${Id}/start`),
    ]);
    const { StatusCode } = JSON.parse(await text(waiting)) as { StatusCode: number };
    client.passing.delete(name);
    return { stdout, code: StatusCode };
  } catch (error) {
    // A start that failed has removed it already.
    await client.attempt([404, 409], () =>
      client.call("DELETE", `/containers/${Id}`, { query: { force: true, v: true } }),
    );
    throw error;
  }
}

export async function runSomething(client: SoakClient): Promise<void> {
  const { random, world } = client;
  const mark = random.mark();
  const code = random.between(0, 9);
  const tty = random.chance(0.25);
  const { stdout, code: seen } = await runOnce(client, {
    image: world.image,
    cmd: ["sh", "-c", `sleep ${random.pick(["0", "0.1"])}; seq 200; echo ${mark}; exit ${code}`],
    tty,
    host: random.pick([
      {},
      { NetworkMode: "none" },
      { ReadonlyRootfs: true },
      { Memory: 32 * 1024 * 1024 },
      { Init: false },
    ]),
  });
  const wanted = `${Array.from({ length: 200 }, (_, i) => `${i + 1}\n`).join("")}${mark}\n`;
  if (stdout.replaceAll("\r\n", "\n") !== wanted || seen !== code)
    client.complain(
      `run --rm ended with ${seen}, not ${code}, and printed ${stdout.length} bytes: ...${JSON.stringify(stdout.slice(-30))}`,
      runtimeExcuses(seen, code),
    );
}
