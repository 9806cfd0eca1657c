import { describe, expect, it } from "vitest";
import { splitPath } from "./request-path.ts";

describe("splitPath", () => {
  it.each([
    ["/v1.43/containers/json?all=1", "1.43", "/containers/json?all=1"],
    ["/containers/json", undefined, "/containers/json"],
    ["/v1.51/images/library/debian:12/json", "1.51", "/images/library%2Fdebian:12/json"],
    ["/images/host:5000/a/b@sha256:aa/json?x=/y", undefined, "/images/host:5000%2Fa%2Fb@sha256:aa/json?x=/y"],
    ["/images/a/b", undefined, "/images/a%2Fb"],
    ["/images/json", undefined, "/images/json"],
    ["/images/get?names=a/b", undefined, "/images/get?names=a/b"],
    ["/images/a/get", undefined, "/images/a/get"],
    ["/images/a/b/tag?repo=c/d", undefined, "/images/a%2Fb/tag?repo=c/d"],
    ["/distribution/a/b/json", undefined, "/distribution/a%2Fb/json"],
    ["/containers//name/json", undefined, "/containers/name/json"],
    ["/v1.24", "1.24", "/"],
    ["/version", undefined, "/version"],
    ["/v1x/version", undefined, "/v1x/version"],
  ])("splits %s", (url, version, routed) => {
    expect(splitPath(url)).toEqual({ version, url: routed });
  });

  it("takes a link's name whole, which is only ever deleted", () => {
    expect(splitPath("/v1.51/containers//web/db?link=1", "DELETE").url).toBe("/containers/web%2Fdb?link=1");
    expect(splitPath("/containers/web/db?link=1", "DELETE").url).toBe("/containers/web%2Fdb?link=1");
    expect(splitPath("/containers/web/json").url).toBe("/containers/web/json");
  });
});
