import { describe, expect, it } from "vitest";
import { BuildArgs, platformArgs, unusedArgs } from "./build-args.ts";
import { parseDockerfile } from "./parse.ts";

describe("BuildArgs", () => {
  it("lets given values win over defaults, in FROM lines and in stages", () => {
    const args = new BuildArgs({ A: "given", N: null });
    args.declareMeta("A", "default");
    args.declareMeta("N", "kept");
    const stage = args.stage();
    expect([args.meta("A"), args.meta("N"), stage.get("A")]).toEqual(["given", "kept", undefined]);
    expect(stage.declare("A", undefined).get("A")).toBe("given");
  });

  it("hands a global default to stages that declare the name, each stage by itself", () => {
    const args = new BuildArgs({});
    args.declareMeta("A", "global");
    const [first, second] = [args.stage().declare("A", undefined), args.stage().declare("A", "own")];
    expect([first.get("A"), second.get("A"), args.stage().get("A")]).toEqual(["global", "own", undefined]);
  });

  it("passes predefined proxies to RUN but not to the cache, unless they are declared", () => {
    const args = new BuildArgs({ http_proxy: "p", X: "1" });
    const stage = args.stage();
    expect([stage.forRun([]), stage.forCache([])]).toEqual([["http_proxy=p"], []]);
    const declared = stage.declare("http_proxy", undefined).declare("X", undefined);
    expect(declared.forCache(["X=env"])).toEqual(["http_proxy=p"]);
  });

  it("knows platforms in FROM lines, and in stages on demand", () => {
    const amd64 = { os: "linux", architecture: "amd64" };
    const args = new BuildArgs({}, platformArgs({ os: "linux", architecture: "arm64", variant: "v8" }, amd64));
    const stage = args.stage();
    expect([args.meta("TARGETPLATFORM"), args.meta("BUILDARCH")]).toEqual(["linux/arm64/v8", "amd64"]);
    expect(stage.get("TARGETARCH")).toBeUndefined();
    expect(stage.declare("TARGETARCH", undefined).get("TARGETARCH")).toBe("arm64");
  });

  it("names what was given and never declared", () => {
    const dockerfile = parseDockerfile("ARG A\nFROM x\nARG C=1\n");
    expect(unusedArgs({ A: "1", B: "2", C: null, HTTP_PROXY: "p" }, dockerfile)).toEqual(["B"]);
  });
});
