/** To and from a registry that is there most of the time. */
import type { SoakClient } from "../soak-client.ts";
import { useImage } from "./images.ts";
import { look } from "./look.ts";

/** What the registry has under the client's reference is a fact of its own: "remote <reference>". */
export async function pushOrPull(client: SoakClient): Promise<void> {
  const repository = `${client.world.registry}/${client.name}/moved`;
  const reference = `${repository}:1`;
  const key = `image ${reference}`;
  const remote = `remote ${reference}`;
  const here = client.facts.certain(key) ?? (await look(client, key));
  if (here === "absent") {
    const there = client.facts.possible(remote);
    if (there.size === 1 && there.has("absent")) return await tagForPush(client, repository, key);
    client.facts.doubt(key, ...there);
    // What a push whose answer never came may have left is there or not.
    const expected = there.has("absent") ? [404] : [];
    const pulled = await client.attempt(expected, () =>
      client.progress("POST", "/images/create", { query: { fromImage: repository, tag: "1" } }),
    );
    if (!pulled) return;
    client.facts.know(key, ...[...there].filter((state) => state !== "absent"));
    const seen = await look(client, key);
    if (seen !== "absent") client.facts.know(remote, seen);
    if (client.random.chance(0.5)) await useImage(client, reference);
    return;
  }
  await client.random.weighted<() => Promise<void>>([
    [
      2,
      async () => {
        await client.become(remote, [here], () =>
          client.progress("POST", `/images/${repository}/push`, { query: { tag: "1" } }),
        );
      },
    ],
    [
      1,
      () =>
        client.become(key, ["absent"], async () => {
          await client.call("DELETE", `/images/${reference}`);
        }),
    ],
    [1, () => tagForPush(client, repository, key)],
  ])();
}

/** Something to push: what was built last, or the base. */
async function tagForPush(client: SoakClient, repository: string, key: string): Promise<void> {
  const built = `${client.name}-built:1`;
  const mark = client.facts.certain(`image ${built}`);
  const source = mark === undefined || mark === "absent" ? client.world.image : built;
  await client.become(key, [source === built && mark !== undefined ? mark : "base"], () =>
    client.call("POST", `/images/${source}/tag`, { query: { repo: repository, tag: "1" } }),
  );
}

export async function pullUnknown(client: SoakClient): Promise<void> {
  const repository = `${client.world.registry}/${client.name}/never-pushed`;
  const found = await client.attempt([404, 500], () =>
    client.progress("POST", "/images/create", { query: { fromImage: repository, tag: "1" } }),
  );
  if (found) client.complain(`${repository} was pulled, though nobody pushed it`);
}
