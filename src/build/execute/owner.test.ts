import { expect, it } from "vitest";
import type { ConfinedRoot } from "../../archive/confined-root.ts";
import { archiveErrors } from "../../archive/errors.ts";
import { background } from "../../base/op-context.ts";
import { resolveOwner } from "./owner.ts";

const files: Readonly<Record<string, string>> = {
  "/etc/passwd": "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/:/bin/false\n",
  "/etc/group": "root:x:0:\nwww:x:33:\naudio:x:29:www\n",
};

function rootWith(names: readonly string[]): ConfinedRoot {
  const readFile = async (_ctx: unknown, path: string): Promise<Uint8Array> => {
    if (!names.includes(path)) throw archiveErrors.PATH_NOT_FOUND({ path });
    return Buffer.from(files[path] ?? "");
  };
  return { readFile } as Partial<ConfinedRoot> as ConfinedRoot;
}

it.each([
  ["1:2", { uid: 1, gid: 2 }],
  ["7", { uid: 7, gid: 7 }],
  ["www", { uid: 33, gid: 33 }],
  ["www:audio", { uid: 33, gid: 29 }],
  ["0:audio", { uid: 0, gid: 29 }],
])("%s is %j", async (chown, expected) => {
  expect(await resolveOwner(background(), rootWith(Object.keys(files)), chown)).toEqual(expected);
});

it.each([
  ["jane", "can't find uid for user jane: no such user: jane"],
  ["www:staff", "can't find gid for group staff: no such group: staff"],
  ["a:b:c", "invalid chown string format: a:b:c"],
  [":1", "invalid chown string format: :1"],
  ["99999999999", "no such user"],
])("refuses %s: %s", async (chown, reason) => {
  await expect(resolveOwner(background(), rootWith(Object.keys(files)), chown)).rejects.toThrow(reason);
});

it("needs no files for numbers", async () => {
  expect(await resolveOwner(background(), rootWith([]), "5:6")).toEqual({ uid: 5, gid: 6 });
});
