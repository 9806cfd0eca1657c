import { describe, expect, it } from "vitest";
import { parseMountinfo } from "./mountinfo.ts";

const text = [
  "22 27 0:21 / /proc rw,relatime - proc proc rw",
  "40 27 0:38 / /data/a\\040b\\011c\\134d rw - ext4 /dev/disk\\040one rw",
  "41 40 0:39 / /data/a\\040b\\011c\\134d/merged rw shared:5 master:1 propagate_from:2 - overlay overlay rw,lowerdir=/x - y",
  "42 27 0:40 / /database rw - tmpfs none rw",
  "43 27 0:41 / /data rw - tmpfs none rw",
  "",
].join("\n");

describe("parseMountinfo", () => {
  it("unescapes octal digits in targets and sources", () => {
    expect(parseMountinfo(text, "/data/a b\tc\\d")[0]).toEqual({
      target: "/data/a b\tc\\d",
      source: "/dev/disk one",
      fstype: "ext4",
    });
  });

  it("skips any number of optional fields", () => {
    expect(parseMountinfo(text, "/data/a b\tc\\d/merged")).toEqual([
      { target: "/data/a b\tc\\d/merged", source: "overlay", fstype: "overlay" },
    ]);
  });

  it("takes the prefix as a path, not as text, and keeps mount order", () => {
    const targets = parseMountinfo(text, "/data").map(({ target }) => target);
    expect(targets).toEqual(["/data/a b\tc\\d", "/data/a b\tc\\d/merged", "/data"]);
  });

  it("takes a prefix with a slash as what lies below", () => {
    const targets = parseMountinfo(text, "/data/").map(({ target }) => target);
    expect(targets).toEqual(["/data/a b\tc\\d", "/data/a b\tc\\d/merged"]);
  });

  it("lists everything below the root", () => {
    expect(parseMountinfo(text, "/")).toHaveLength(5);
  });
});
