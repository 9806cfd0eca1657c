import type { CommandEntry } from "../program.ts";
import { entry } from "./entry.ts";

export const systemCommands: readonly CommandEntry[] = [
  entry(
    "convert",
    "",
    "Make a machine of a container or an image, or an image of a machine's disk",
    async () => (await import("../commands/convert.ts")).convert,
  ),
  entry(
    "system capacity",
    "capacity",
    "Show what the machine has, who reserves it, and what is used",
    async () => (await import("../commands/capacity.ts")).capacity,
  ),
  entry(
    "builder prune",
    "",
    "Forget the build cache",
    async () => (await import("../commands/system.ts")).builderPrune,
  ),
  entry("system df", "", "Show what is used on the disk", async () => (await import("../commands/disk-usage.ts")).df),
  entry("system events", "events", "Follow what happens", async () => (await import("../commands/system.ts")).events),
  entry(
    "system info",
    "info",
    "Show the engine and its host",
    async () => (await import("../commands/system.ts")).info,
  ),
  entry("system prune", "", "Remove everything unused", async () => (await import("../commands/system.ts")).prune),
  entry(
    "inspect",
    "",
    "Show everything about whatever has that name",
    async () => (await import("../commands/inspect.ts")).any,
  ),
  entry(
    "version",
    "",
    "Show the versions of client and engine",
    async () => (await import("../commands/system.ts")).version,
  ),
  entry("login", "", "Log in to a registry", async () => (await import("../commands/login.ts")).login),
  entry("logout", "", "Log out of a registry", async () => (await import("../commands/login.ts")).logout),
  entry(
    "completion",
    "",
    "Print a completion script for your shell",
    async () => (await import("../commands/completion.ts")).completion,
  ),
];
