import { describe, expect, it } from "vitest";
import { resolveUser } from "./users.ts";

const passwd = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/sbin/nologin\n# comment\nbare:x:40:41::\n";
const group = "root:x:0:\nadm:x:4:www,root\nwww:x:33:\nvideo:x:44:www\n";
const resolve = (user: string, groupAdd: readonly string[] = []) => resolveUser({ user, groupAdd, passwd, group });

describe("resolveUser", () => {
  it("is root with its groups when none is named", () => {
    expect(resolve("")).toEqual({ uid: 0, gid: 0, additionalGids: [0, 4], home: "/root" });
  });

  it("finds a user by name and by number, with the groups that list it", () => {
    const www = { uid: 33, gid: 33, additionalGids: [33, 4, 44], home: "/var/www" };
    expect(resolve("www")).toEqual(www);
    expect(resolve("33")).toEqual(www);
  });

  it("drops the supplementary groups when a group is given", () => {
    expect(resolve("www:adm")).toMatchObject({ gid: 4, additionalGids: [4] });
    expect(resolve("www:1234")).toMatchObject({ gid: 1234, additionalGids: [1234] });
  });

  it("takes a number that is not in the files as it is", () => {
    expect(resolve("1000")).toEqual({ uid: 1000, gid: 0, additionalGids: [0], home: "/" });
    expect(resolveUser({ user: "7:8", groupAdd: [], passwd: "", group: "" })).toMatchObject({ uid: 7, gid: 8 });
  });

  it("adds groups by name and number, each once", () => {
    expect(resolve("www", ["adm", "99", "99"]).additionalGids).toEqual([33, 4, 44, 99]);
  });

  it("gives the root directory as home where the file has none", () => {
    expect(resolve("bare").home).toBe("/");
  });

  it.each([
    ["nobody-here", "unable to find user nobody-here: no matching entries in passwd file"],
    ["www:nogroup", "unable to find group nogroup: no matching entries in group file"],
    ["2147483648", "uids and gids must be in range 0-2147483647, not 2147483648"],
    ["-1", "uids and gids must be in range 0-2147483647, not -1"],
  ])("refuses %s", (user, message) => {
    expect(() => resolve(user)).toThrow(message);
  });

  it("refuses an extra group that is not there", () => {
    expect(() => resolve("", ["nogroup"])).toThrow("unable to find group nogroup: no matching entries in group file");
  });
});
