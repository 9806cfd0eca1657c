/** Prunes of everything, beside what the others do, and questions about all that is there. */
import type { SoakClient } from "../soak-client.ts";
import { slotsOf } from "./containers.ts";

const prunes = {
  container: ["/containers/prune", {}],
  image: ["/images/prune", { dangling: ["false"] }],
  network: ["/networks/prune", {}],
  volume: ["/volumes/prune", { all: ["true"] }],
} as const;

export async function prune(client: SoakClient): Promise<void> {
  const kind = client.random.pick(["container", "image", "network", "volume"] as const);
  const [path, filters] = prunes[kind];
  using _ = client.facts.prune(kind);
  using __ = client.world.conditions.begin("pruning");
  await client.call("POST", path, { query: { filters: JSON.stringify(filters) } });
}

/** Images without a tag and the build cache: takes nothing from anybody, whatever goes on. */
export async function pruneUnused(client: SoakClient): Promise<void> {
  if (client.random.chance(0.5)) await client.call("POST", "/build/prune", { query: { all: true } });
  else await client.call("POST", "/images/prune", { query: { filters: JSON.stringify({ dangling: ["true"] }) } });
}

/** The list has what this client knows of; nobody else touches that, but prunes. */
export async function list(client: SoakClient): Promise<void> {
  const known = slotsOf(client).map((name) => [name, client.facts.certain(`container ${name}`)] as const);
  const query = {
    all: true,
    size: client.random.chance(0.2),
    filters: JSON.stringify({ label: [`soak=${client.name}`] }),
  };
  const rows = await client.call<readonly { Names: readonly string[]; State: string }[]>("GET", "/containers/json", {
    query,
  });
  for (const [name, state] of known) {
    const row = rows.find(({ Names }) => Names.includes(`/${name}`));
    const seen = row === undefined ? "absent" : row.State === "exited" ? "stopped" : row.State;
    if (state !== undefined && state.replace(/:.*/, "") !== seen && client.specs.get(name)?.restart === "no")
      client.complain(`${name} is ${state}, but the list says ${seen}`, ["pruning"]);
  }
}

export async function ask(client: SoakClient): Promise<void> {
  const path = client.random.pick(["/system/df", "/info", "/images/json", "/networks", "/volumes", "/version"]);
  await client.call("GET", path, path === "/images/json" ? { query: { all: true, "shared-size": true } } : {});
}
