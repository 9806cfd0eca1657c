import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { virtualDisksContract } from "../virtual-disks.contract.ts";
import { FakeDisks } from "./fake-disks.ts";

virtualDisksContract("FakeDisks", async () => {
  const directory = await mkdtemp(join(tmpdir(), "berth-disks-"));
  return { disks: new FakeDisks(), directory, cleanUp: async () => await rm(directory, { recursive: true }) };
});
