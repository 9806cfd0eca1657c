import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { background } from "../../base/op-context.ts";
import type { DriverInside, PackRequest } from "../driver.ts";
import { type Inside, packInside, packRootInside, statInside } from "./inside.ts";

const ctx = background();

/** A guest with one file, "/etc/motd", and a link to its directory. */
function guest() {
  const packed: PackRequest[] = [];
  const asked: string[] = [];
  const driver: DriverInside = {
    rests: true,
    stat: async (_ctx, _handle, path) => {
      asked.push(path);
      if (path === "/etc/motd") return { mode: 0o104755, size: 3, mtimeSeconds: 1_700_000_000, linkTarget: "" };
      if (path === "/conf") return { mode: 0o120777, size: 4, mtimeSeconds: 0, linkTarget: "/etc" };
      if (path === "/conf/") return { mode: 0o041777, size: 0, mtimeSeconds: 0, linkTarget: "" };
      return undefined;
    },
    pack: async (_ctx, _handle, request) => {
      packed.push(request);
      return Readable.from([Buffer.from("tar")]);
    },
    unpack: async () => {},
    changes: async () => [],
    packChanges: async () => Readable.from([]),
    processes: async () => [],
  };
  const inside: Inside = { driver, handle: { driver: "qemu", version: 1, state: {} } };
  return { inside, packed, asked };
}

it("tells of a file in Docker's words", async () => {
  const { inside, asked } = guest();
  expect(await statInside(ctx, inside, "etc/motd")).toEqual({
    name: "motd",
    size: 3,
    mode: 2 ** 23 + 0o755, // setuid is a bit of its own in Go's modes
    mtime: "2023-11-14T22:13:20.000Z",
    linkTarget: "",
  });
  expect(await statInside(ctx, inside, "/conf")).toMatchObject({ mode: 2 ** 27 + 0o777, linkTarget: "/etc" });
  expect(await statInside(ctx, inside, "/conf/")).toMatchObject({ name: "conf", mode: 2 ** 31 + 2 ** 20 + 0o777 });
  expect(await statInside(ctx, inside, "/nosuch")).toBeUndefined();
  expect(asked[0]).toBe("/etc/motd");
});

it("follows a link only where the path says directory, and exports without what is mounted", async () => {
  const { inside, packed } = guest();
  expect(await text(await packInside(ctx, inside, "/conf", "conf"))).toBe("tar");
  await packInside(ctx, inside, "/conf/.", ".");
  await packRootInside(ctx, inside);
  expect(packed).toEqual([
    { path: "/conf", name: "conf", follow: false, mounts: true },
    { path: "/conf/.", name: ".", follow: true, mounts: true },
    { path: "/", name: ".", follow: false, mounts: false },
  ]);
});
