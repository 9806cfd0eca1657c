import { expect, test } from "vitest";
import { makeInitrd } from "./initrd.ts";

/** Names, modes and contents of a newc archive. */
function readCpio(archive: Buffer): readonly (readonly [string, string, string])[] {
  const entries: [string, string, string][] = [];
  for (let at = 0; ; ) {
    expect(archive.toString("latin1", at, at + 6)).toBe("070701");
    const number = (index: number) =>
      Number.parseInt(archive.toString("latin1", at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const nameEnd = at + 110 + number(11);
    const name = archive.toString("utf8", at + 110, nameEnd - 1);
    const start = (nameEnd + 3) & ~3;
    if (name === "TRAILER!!!") return entries;
    entries.push([name, number(1).toString(8), archive.toString("utf8", start, start + number(6))]);
    at = (start + number(6) + 3) & ~3;
  }
}

test("the agent is /init, and the modules come with their order", () => {
  const modules = [
    { name: "virtio", data: Buffer.from("V") },
    { name: "virtio_net", data: Buffer.from("NET") },
  ];
  const initrd = makeInitrd(Buffer.from("agent"), modules);
  expect(readCpio(initrd)).toEqual([
    ["dev", "40755", ""],
    ["modules", "40755", ""],
    ["init", "100755", "agent"],
    ["modules/order", "100644", "virtio.ko\nvirtio_net.ko\n"],
    ["modules/virtio.ko", "100644", "V"],
    ["modules/virtio_net.ko", "100644", "NET"],
  ]);
  expect(makeInitrd(Buffer.from("agent"), modules)).toEqual(initrd);
});
