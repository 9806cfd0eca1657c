/** The end: every client takes away what it has, and the rest is pruned. */
import type { Keeper } from "../keeper.ts";
import type { SoakClient } from "../soak-client.ts";
import { slotsOf } from "./containers.ts";

export async function removeEverything(clients: readonly SoakClient[], keeper: Keeper): Promise<void> {
  await Promise.all(
    clients.map((client) =>
      client.once("remove all", async () => {
        for (const name of slotsOf(client)) {
          await client.attempt([404], () =>
            client.call("DELETE", `/containers/${name}`, { query: { force: true, v: true } }),
          );
        }
      }),
    ),
  );
  await keeper.remove();
  const all = { dangling: ["false"] };
  await clients[0]?.once("prune all", async (client) => {
    await client.call("POST", "/containers/prune");
    await client.call("POST", "/networks/prune");
    await client.call("POST", "/volumes/prune", { query: { filters: JSON.stringify({ all: ["true"] }) } });
    await client.call("POST", "/build/prune", { query: { all: true } });
    await client.call("POST", "/images/prune", { query: { filters: JSON.stringify(all) } });
    type Left = { Images: readonly unknown[]; Containers: readonly unknown[]; Volumes: readonly unknown[] };
    const { Images, Containers, Volumes } = await client.call<Left>("GET", "/system/df");
    const left = { images: Images.length, containers: Containers.length, volumes: Volumes.length };
    if (Object.values(left).some((count) => count > 0))
      client.complain(`left by the prunes: ${JSON.stringify({ ...left, Images })}`);
  });
}
