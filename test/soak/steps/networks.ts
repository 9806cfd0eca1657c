/** A client's networks and its volume. */
import { existsSync, readdirSync } from "node:fs";
import type { SoakClient } from "../soak-client.ts";
import { slotsOf } from "./containers.ts";
import { look } from "./look.ts";

/** "n" is what new containers are put on, "m" what running ones are connected to. */
export async function networkStep(client: SoakClient): Promise<void> {
  const which = client.random.pick(["n", "m"]);
  const name = `${client.name}-${which}`;
  const key = `network ${name}`;
  if ((client.facts.certain(key) ?? (await look(client, key))) === "absent") {
    const { Id } = await client.become(key, ["present"], () =>
      client.call<{ Id: string }>("POST", "/networks/create", { body: { Name: name, Labels: { soak: client.name } } }),
    );
    client.expectEvent(`network create ${Id}`);
    return;
  }
  const { Id, Containers } = await client.call<{ Id: string; Containers: Readonly<Record<string, unknown>> }>(
    "GET",
    `/networks/${name}`,
  );
  // Refused while a container is on it; one of ours may be restarted meanwhile.
  if (Object.keys(Containers).length > 0) return;
  const removed = await client.attempt([403], () =>
    client.become(key, ["absent"], () => client.call("DELETE", `/networks/${name}`)),
  );
  if (removed) client.expectEvent(`network destroy ${Id}`);
  else await look(client, key);
}

export async function volumeStep(client: SoakClient): Promise<void> {
  const name = `${client.name}-v`;
  const key = `volume ${name}`;
  if ((client.facts.certain(key) ?? (await look(client, key))) === "absent") {
    const { Mountpoint } = await client.become(key, ["mark:"], () =>
      client.call<{ Mountpoint: string }>("POST", "/volumes/create", {
        body: { Name: name, Labels: { soak: client.name } },
      }),
    );
    client.expectEvent(`volume create ${name}`);
    const files = existsSync(Mountpoint) ? readdirSync(Mountpoint) : [];
    if (files.length > 0)
      client.complain(`the new volume ${name} has files of an old one: ${files.join(" ")}`, ["pruning"]);
    return;
  }
  const isUsed = slotsOf(client).some(
    (slot) => client.specs.get(slot)?.volume === true && client.facts.certain(`container ${slot}`) !== "absent",
  );
  if (isUsed) return;
  await client.become(key, ["absent"], () => client.call("DELETE", `/volumes/${name}`));
  client.expectEvent(`volume destroy ${name}`);
}
