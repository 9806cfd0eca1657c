/** Images that come and go: load (whole, cut short, given up), save, tag, remove, build (cached, new, failing, given up). */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { pack } from "tar-stream";
import { busyboxArchive } from "../../support/busybox-image.ts";
import type { SoakClient } from "../soak-client.ts";
import { look, markLabel } from "./look.ts";
import { runOnce, runtimeExcuses } from "./talk.ts";

/** The image runs, and has in it what its label says. */
export async function useImage(client: SoakClient, reference: string): Promise<void> {
  const state = await look(client, `image ${reference}`);
  if (state === "absent") return;
  const { stdout, code } = await runOnce(client, { image: reference, cmd: ["/bin/busybox", "cat", "/mark"] });
  if (code !== 0 || stdout !== `${state}\n`)
    client.complain(
      `${reference} should print ${state}, but ended with ${code} and printed ${JSON.stringify(stdout)}`,
      runtimeExcuses(code, 0),
    );
}

async function markedArchive(reference: string, mark: string): Promise<Buffer> {
  return await busyboxArchive({
    tags: [reference],
    files: { mark: `${mark}\n` },
    config: { Labels: { [markLabel]: mark } },
  });
}

export async function loadImage(client: SoakClient): Promise<void> {
  const reference = `${client.name}-loaded:1`;
  const key = `image ${reference}`;
  const mark = client.random.mark();
  const archive = await markedArchive(reference, mark);
  const load = (body: Readable) => client.progress("POST", "/images/load", { body });
  await client.random.weighted<() => Promise<void>>([
    [
      5,
      async () => {
        await client.become(key, [mark], () => load(Readable.from([archive])));
        if (client.random.chance(0.3)) await useImage(client, reference);
      },
    ],
    [
      1,
      async () => {
        // Cut short: nothing of it is kept.
        const part = archive.subarray(0, client.random.between(1, archive.length - 2000));
        const refused = !(await client.attempt([400, 500], () => load(Readable.from([part]))));
        if (!refused)
          client.complain(`an archive of which ${archive.length - part.length} bytes were missing was loaded`);
        await look(client, key);
      },
    ],
    [1, () => giveUpLoading(client, archive)],
  ])();
}

/** The connection ends in the middle. */
async function giveUpLoading(client: SoakClient, archive: Buffer): Promise<void> {
  const leaving = new AbortController();
  const slow = async function* () {
    const half = client.random.between(0, archive.length - 2000);
    yield archive.subarray(0, half);
    await sleep(client.random.between(0, 300));
    leaving.abort();
  };
  const body = Readable.from(slow());
  body.on("error", () => {}); // It is given up on purpose.
  await given(leaving.signal, () => client.progress("POST", "/images/load", { body, signal: leaving.signal }));
  await look(client, `image ${client.name}-loaded:1`);
}

/** Does what this client itself gives up. */
async function given(leaving: AbortSignal, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!leaving.aborted) throw error;
  }
}

export async function saveImage(client: SoakClient): Promise<void> {
  const archive = await buffer(await client.stream("GET", `/images/${client.world.image}/get`));
  if (archive.length < 1_000_000 || archive.length % 512 !== 0)
    client.complain(`save gave ${archive.length} bytes`, ["disk full"]);
}

export async function tagImage(client: SoakClient): Promise<void> {
  const repo = `${client.name}-tagged`;
  const key = `image ${repo}:1`;
  if ((client.facts.certain(key) ?? (await look(client, key))) === "absent") {
    await client.become(key, ["base"], () =>
      client.call("POST", `/images/${client.world.image}/tag`, { query: { repo, tag: "1" } }),
    );
  } else await removeImage(client, `${repo}:1`);
}

export async function removeImage(client: SoakClient, reference: string): Promise<void> {
  await client.become(`image ${reference}`, ["absent"], () =>
    client.call("DELETE", `/images/${reference}`, { query: { force: client.random.chance(0.3) } }),
  );
}

/** One of those that the client has, if any. */
export async function removeSomeImage(client: SoakClient): Promise<void> {
  const own = client.facts.keys().filter((key) => key.startsWith(`image ${client.name}-`));
  if (own.length === 0) return;
  const key = client.random.pick(own);
  if ((client.facts.certain(key) ?? (await look(client, key))) === "absent") return;
  // Committed, imported and built ones may be what another one stands on: their tag goes in any case.
  await removeImage(client, key.slice("image ".length));
}

export async function build(client: SoakClient): Promise<void> {
  const reference = `${client.name}-built:1`;
  const key = `image ${reference}`;
  // Of four, so that the cache is hit.
  const mark = client.random.chance(0.5) ? client.random.pick(["one", "two", "three", "four"]) : client.random.mark();
  const lines = [
    `FROM ${client.world.image}`,
    `RUN echo ${mark} >/mark && sleep ${client.random.pick(["0", "0.1", "0.5"])}`,
    "COPY Dockerfile /context/",
    "VOLUME /data",
    `LABEL ${markLabel}=${mark}`,
  ];
  const post = async (dockerfile: readonly string[], signal?: AbortSignal) => {
    const context = pack();
    context.entry({ name: "Dockerfile" }, `${dockerfile.join("\n")}\n`);
    context.finalize();
    return await client.progress("POST", "/build", {
      query: { t: reference, rm: true, forcerm: client.random.chance(0.5), nocache: client.random.chance(0.1) },
      body: Readable.from(context),
      ...(signal === undefined ? {} : { signal }),
    });
  };
  await client.random.weighted<() => Promise<void>>([
    [
      5,
      async () => {
        const output = await client.become(key, [mark], () => post(lines));
        if (!output.includes("Successfully tagged")) client.complain(`a build ended with: ${output.slice(-300)}`);
        if (client.random.chance(0.3)) await useImage(client, reference);
      },
    ],
    [
      1,
      async () => {
        let refusal = "";
        await client.attempt([], async () => {
          try {
            await post([...lines.slice(0, 2), "RUN echo hopeless; exit 9"]);
          } catch (error) {
            if (!(error instanceof Error) || !error.message.includes("non-zero code: 9")) throw error;
            refusal = error.message;
            return;
          }
          refusal = "none";
        });
        if (refusal === "none") client.complain("a build whose command ended with 9 succeeded");
      },
    ],
    [
      2,
      async () => {
        // Given up in the middle: it is tagged, or it never was.
        client.facts.doubt(key, mark);
        const leaving = new AbortController();
        const timer = setTimeout(() => leaving.abort(), client.random.between(5, 600));
        await given(leaving.signal, () => post(lines, leaving.signal));
        clearTimeout(timer);
        await look(client, key);
      },
    ],
  ])();
}
