import { readdirSync } from "node:fs";
import { expect } from "vitest";
import { DirectorySnapshotter } from "./fake/directory-snapshotter.ts";
import { snapshotterContract } from "./snapshotter.contract.ts";

snapshotterContract("DirectorySnapshotter", async () => {
  const snapshotter = await DirectorySnapshotter.create();
  return {
    snapshotter,
    cleanUp: async () => {
      const left = readdirSync(snapshotter.root).filter((name) => !name.startsWith("layer-"));
      await snapshotter[Symbol.asyncDispose]();
      expect(left).toEqual([]);
    },
  };
});
