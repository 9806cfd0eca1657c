/** Files in and out of containers: cp both ways, commit, export and import. */
import { buffer } from "node:stream/consumers";
import { Readable } from "node:stream";
import { extract, pack } from "tar-stream";
import type { SoakClient } from "../soak-client.ts";
import { useImage } from "./images.ts";
import { markLabel } from "./look.ts";

export async function copyBothWays(client: SoakClient, name: string): Promise<void> {
  const content = client.random.mark().repeat(client.random.pick([1, 5000]));
  await putFile(client, name, "copied", content);
  const back = await client.stream("GET", `/containers/${name}/archive`, { query: { path: "/copied" } });
  const seen = await fileIn(await buffer(back), "copied");
  if (seen !== content)
    client.complain(`${content.length} bytes were copied into ${name}, ${seen?.length} came back`, ["disk full"]);
}

async function putFile(client: SoakClient, name: string, file: string, content: string): Promise<void> {
  const archive = pack();
  archive.entry({ name: file }, content);
  archive.finalize();
  await client.call("PUT", `/containers/${name}/archive`, { query: { path: "/" }, body: Readable.from(archive) });
}

async function fileIn(archive: Buffer, wanted: string): Promise<string | undefined> {
  const reader = extract();
  reader.end(archive);
  let found: string | undefined;
  for await (const entry of reader) {
    const content = await buffer(entry);
    if (entry.header.name === wanted) found = content.toString("utf8");
  }
  return found;
}

export async function commitAndUse(client: SoakClient, name: string): Promise<void> {
  const mark = client.random.mark();
  const repo = `${client.name}-committed`;
  await putFile(client, name, "mark", `${mark}\n`);
  await client.become(`image ${repo}:1`, [mark], () =>
    client.call("POST", "/commit", {
      query: { container: name, repo, tag: "1", changes: `LABEL ${markLabel}=${mark}` },
    }),
  );
  await useImage(client, `${repo}:1`);
}

export async function exportAndImport(client: SoakClient, name: string): Promise<void> {
  const mark = client.random.mark();
  const repo = `${client.name}-imported`;
  await putFile(client, name, "mark", `${mark}\n`);
  const archive = await buffer(await client.stream("GET", `/containers/${name}/export`));
  if ((await fileIn(archive, "mark")) !== `${mark}\n`) {
    client.complain(`the export of ${name} lacks a file that was put into it`, ["disk full"]);
    return;
  }
  await client.become(`image ${repo}:1`, [mark], () =>
    client.progress("POST", "/images/create", {
      query: { fromSrc: "-", repo, tag: "1", changes: `LABEL ${markLabel}=${mark}` },
      body: Readable.from([archive]),
    }),
  );
  await useImage(client, `${repo}:1`);
}
