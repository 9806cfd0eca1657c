import type { CommandEntry } from "../program.ts";
import { entry } from "./entry.ts";

export const networkAndVolumeCommands: readonly CommandEntry[] = [
  entry(
    "network connect",
    "",
    "Connect a container to a network",
    async () => (await import("../commands/network/network.ts")).connect,
  ),
  entry("network create", "", "Create a network", async () => (await import("../commands/network/network.ts")).create),
  entry(
    "network disconnect",
    "",
    "Disconnect a container from a network",
    async () => (await import("../commands/network/network.ts")).disconnect,
  ),
  entry(
    "network inspect",
    "",
    "Show everything about networks",
    async () => (await import("../commands/inspect.ts")).network,
  ),
  entry(
    "network ls",
    "network list",
    "List networks",
    async () => (await import("../commands/network/network.ts")).list,
  ),
  entry(
    "network prune",
    "",
    "Remove unused networks",
    async () => (await import("../commands/network/network.ts")).prune,
  ),
  entry(
    "network rm",
    "network remove",
    "Remove networks",
    async () => (await import("../commands/network/network.ts")).remove,
  ),
  entry("volume create", "", "Create a volume", async () => (await import("../commands/volume/volume.ts")).create),
  entry(
    "volume inspect",
    "",
    "Show everything about volumes",
    async () => (await import("../commands/inspect.ts")).volume,
  ),
  entry("volume ls", "volume list", "List volumes", async () => (await import("../commands/volume/volume.ts")).list),
  entry("volume prune", "", "Remove unused volumes", async () => (await import("../commands/volume/volume.ts")).prune),
  entry(
    "volume rm",
    "volume remove",
    "Remove volumes",
    async () => (await import("../commands/volume/volume.ts")).remove,
  ),
];
