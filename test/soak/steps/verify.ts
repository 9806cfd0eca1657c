/** After a round: everything of a client is as it was answered. */
import { setTimeout as sleep } from "node:timers/promises";
import type { SoakClient } from "../soak-client.ts";
import { visit } from "./containers.ts";
import { useImage } from "./images.ts";
import { look } from "./look.ts";
import { readLogs } from "./talk.ts";

export async function verify(client: SoakClient): Promise<void> {
  for (const key of client.facts.keys()) {
    const [kind = "", name = ""] = key.split(" ");
    const isOwn = name.startsWith(`${client.name}-`) || name.startsWith(`${client.world.registry}/${client.name}/`);
    if (!isOwn || !["container", "image", "network", "volume"].includes(kind)) continue;
    await client.attempt([], async () => {
      const state = await look(client, key);
      if (kind === "container" && state === "running") await visit(client, name);
      if (kind === "container" && state !== "absent") await readLogs(client, name);
      if (kind === "image" && state !== "absent" && client.random.chance(0.3)) await useImage(client, name);
    });
  }
  for (const name of client.passing) await awaitGone(client, name);
  client.passing.clear();
}

/** A `--rm` container whose run was cut off ends by itself. */
async function awaitGone(client: SoakClient, name: string): Promise<void> {
  let gone = false;
  for (let tries = 0; !gone && tries < 100; tries++) {
    gone = !(await client.attempt([404], () => client.call("GET", `/containers/${name}/json`)));
    if (!gone) await sleep(200);
  }
  if (!gone) client.complain(`${name}, a container with --rm, does not go`);
}
