import { describe, expect, it } from "vitest";
import { background } from "../../../base/op-context.ts";
import { fakeBackend } from "../fake/fake-backend.ts";
import { instanceRequest } from "./create-container.ts";
import { mountSpecs, parseBind } from "./mounts.ts";

describe("parseBind", () => {
  it("tells binds, volumes and anonymous volumes apart", () => {
    expect(parseBind("/a:/b:ro,Z,rslave")).toEqual({
      type: "bind",
      source: "/a",
      target: "/b",
      readOnly: true,
      propagation: "rslave",
      createSource: true,
    });
    expect(parseBind("vol:/b:nocopy")).toMatchObject({ type: "volume", name: "vol", noCopy: true, anonymous: false });
    expect(parseBind("/data")).toMatchObject({ type: "volume", name: "", target: "/data", anonymous: true });
  });

  it.each([
    [":/b", "invalid volume specification: ':/b'"],
    ["/a:", "invalid volume specification"],
    ["/b:ro", "invalid volume specification"],
    ["a:b:c:d", "invalid volume specification"],
    ["/a:/b:what", "invalid mode: what"],
    ["/a:/b:ro,rw", "invalid mode: ro,rw"],
    ["/a:/b:nocopy", "invalid mode: nocopy"],
    ["vol:/b:rshared", "invalid mode: rshared"],
  ])("refuses %s", (spec, message) => {
    expect(() => parseBind(spec)).toThrow(message);
  });
});

describe("mountSpecs", () => {
  const backend = fakeBackend();

  it("decodes Mounts of each type", () => {
    const mounts = mountSpecs(
      {
        HostConfig: {
          Mounts: [
            {
              Type: "bind",
              Source: "/a/../b",
              Target: "/x",
              BindOptions: { NonRecursive: true, Propagation: "shared" },
            },
            { Type: "volume", Source: "v", Target: "/y", VolumeOptions: { Subpath: "s", Labels: { a: "b" } } },
            { Type: "tmpfs", Target: "/z", TmpfsOptions: { SizeBytes: 1024, Mode: 0o1777, Options: [["noexec"]] } },
          ],
          Tmpfs: { "/t": "size=1m,mode=700" },
        },
        Volumes: { "/anon": {}, "/x/": {} },
      },
      backend,
    );
    expect(mounts).toEqual([
      {
        type: "bind",
        source: "/b",
        target: "/x",
        readOnly: false,
        propagation: "shared",
        createSource: false,
        nonRecursive: true,
      },
      {
        type: "volume",
        name: "v",
        target: "/y",
        readOnly: false,
        noCopy: false,
        anonymous: false,
        subpath: "s",
        labels: { a: "b" },
      },
      { type: "tmpfs", target: "/z", options: ["mode=1777", "size=1024", "noexec"] },
      { type: "tmpfs", target: "/t", options: ["size=1m", "mode=700"] },
      { type: "volume", name: "", target: "/anon", readOnly: false, noCopy: false, anonymous: true },
    ]);
  });

  it.each([
    [{ Type: "image", Source: "x", Target: "/a" }, 'mount type "image" is not supported'],
    [{ Type: "nope", Target: "/a" }, "mount type unknown"],
    [{ Type: "tmpfs", Source: "x", Target: "/a" }, "field Source must not be specified"],
    [{ Type: "tmpfs", Target: "/a", BindOptions: {} }, "field BindOptions must not be specified"],
    [
      { Type: "bind", Source: "/x", Target: "/a", BindOptions: { Propagation: "odd" } },
      "invalid propagation mode: odd",
    ],
    [{ Type: "volume", Target: "/a", VolumeOptions: { DriverConfig: { Name: "nfs" } } }, 'plugin "nfs" not found'],
  ])("refuses %j", (mount, message) => {
    expect(() => mountSpecs({ HostConfig: { Mounts: [mount] } }, backend)).toThrow(message);
  });

  it("takes over another container's mounts, without owning them", async () => {
    backend.images.add("busybox");
    const body = { Image: "busybox", HostConfig: { Binds: ["/data", "/host:/host", "vol:/over"] } };
    const request = instanceRequest(body, { name: "donor", platform: "" }, backend);
    await backend.instances.create(background(), request);
    const mounts = mountSpecs({ HostConfig: { VolumesFrom: ["donor:ro"], Binds: ["mine:/over"] } }, backend);
    expect(mounts.map(({ target }) => target)).toEqual(["/over", "/data", "/host"]);
    expect(mounts[1]).toMatchObject({ type: "volume", anonymous: false, readOnly: true });
    expect(mounts[2]).toMatchObject({ type: "bind", readOnly: true });
  });
});
