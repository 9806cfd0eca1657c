import type { CommandEntry, CommandGroup } from "./program.ts";
import { containerCommands } from "./registry/container-commands.ts";
import { imageCommands } from "./registry/image-commands.ts";
import { machineCommands } from "./registry/machine-commands.ts";
import { networkAndVolumeCommands } from "./registry/network-and-volume-commands.ts";
import { systemCommands } from "./registry/system-commands.ts";

/** Words that hold other commands. */
export const groups: readonly CommandGroup[] = [
  { name: "builder", summary: "Manage the build cache" },
  { name: "container", summary: "Manage containers" },
  { name: "image", summary: "Manage images" },
  {
    name: "machine",
    alias: "vm",
    summary: "Manage virtual machines with an operating system of their own (also: berth vm)",
  },
  { name: "network", summary: "Manage networks" },
  { name: "system", summary: "Manage the engine" },
  { name: "volume", summary: "Manage volumes" },
];

/** Every command; its module is loaded when it is called. */
export const commands: readonly CommandEntry[] = [
  ...containerCommands,
  ...imageCommands,
  ...machineCommands,
  ...networkAndVolumeCommands,
  ...systemCommands,
];
