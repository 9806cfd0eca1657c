import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { collectModules, dependenciesOf, withoutSignature } from "./kernel-modules.ts";

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

const moduleOf = (depends: string) => Buffer.from(`\x7fELF license=GPL\0depends=${depends}\0name=x\0`);

function tree(modules: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), "berth-modules-"));
  directories.push(directory);
  writeFileSync(join(directory, "modules.builtin"), "kernel/fs/ext4/ext4.ko\n");
  for (const [path, depends] of Object.entries(modules)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), moduleOf(depends));
  }
  return directory;
}

test("each module comes after what it needs, once, whatever its file's dashes", async () => {
  const directory = tree({
    "kernel/drivers/net/virtio_net.ko": "net_failover,virtio,virtio_ring",
    "kernel/drivers/net/net_failover.ko": "failover",
    "kernel/net/core/failover.ko": "",
    "kernel/drivers/virtio/virtio.ko": "",
    "kernel/drivers/virtio/virtio_ring.ko": "virtio",
    "kernel/drivers/char/virtio-rng.ko": "virtio",
  });
  const modules = await collectModules(directory, ["virtio_net", "virtio_rng", "ext4"]);
  expect(modules.map(({ name }) => name)).toEqual([
    "failover",
    "net_failover",
    "virtio",
    "virtio_ring",
    "virtio_net",
    "virtio_rng",
  ]);
});

test("one that is missing, or needs itself, is named", async () => {
  await expect(collectModules(tree({}), ["virtio"])).rejects.toThrow(/no module virtio$/);
  await expect(collectModules(tree({ "a.ko": "b", "b.ko": "a" }), ["a"])).rejects.toThrow(/module a needs itself/);
});

test("a signature is taken off, and only a signature", () => {
  const plain = moduleOf("");
  const info = Buffer.alloc(12);
  info.writeUInt32BE(40, 8);
  const signed = Buffer.concat([plain, Buffer.alloc(40, 1), info, Buffer.from("~Module signature appended~\n")]);
  expect(withoutSignature(signed)).toEqual(plain);
  expect(withoutSignature(plain)).toEqual(plain);
  expect(dependenciesOf(Buffer.from("no module"))).toEqual([]);
});
