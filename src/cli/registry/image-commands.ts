import type { CommandEntry } from "../program.ts";
import { entry } from "./entry.ts";

export const imageCommands: readonly CommandEntry[] = [
  entry(
    "image bootstrap",
    "",
    "Make a base image from the distribution's mirror",
    async () => (await import("../commands/image/transfer.ts")).bootstrap,
  ),
  entry(
    "image build",
    "build,builder build",
    "Build an image from a Dockerfile",
    async () => (await import("../commands/image/build.ts")).build,
  ),
  entry(
    "image history",
    "history",
    "Show an image's layers",
    async () => (await import("../commands/image/manage.ts")).history,
  ),
  entry(
    "image import",
    "import",
    "Make an image of a root file system's tar",
    async () => (await import("../commands/container/change.ts")).importTar,
  ),
  entry(
    "image inspect",
    "",
    "Show everything about images",
    async () => (await import("../commands/inspect.ts")).image,
  ),
  entry(
    "image load",
    "load",
    "Load images from an archive",
    async () => (await import("../commands/image/transfer.ts")).load,
  ),
  entry("image ls", "images,image list", "List images", async () => (await import("../commands/image/list.ts")).list),
  entry("image prune", "", "Remove unused images", async () => (await import("../commands/image/manage.ts")).prune),
  entry(
    "image pull",
    "pull",
    "Download an image from a registry",
    async () => (await import("../commands/image/transfer.ts")).pull,
  ),
  entry(
    "image push",
    "push",
    "Upload an image to a registry",
    async () => (await import("../commands/image/transfer.ts")).push,
  ),
  entry(
    "image rm",
    "rmi,image remove",
    "Remove images",
    async () => (await import("../commands/image/manage.ts")).remove,
  ),
  entry(
    "image save",
    "save",
    "Write images to an archive",
    async () => (await import("../commands/image/transfer.ts")).save,
  ),
  entry(
    "image tag",
    "tag",
    "Give an image another name",
    async () => (await import("../commands/image/manage.ts")).tag,
  ),
];
