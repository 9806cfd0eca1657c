import { expect, test } from "vitest";
import { tarballsOf } from "./debian-sources.ts";

const sha256 = "ab".repeat(32);
const stanzas = `Package: docker.io
Version: 27.5.1+dfsg4-1
Directory: pool/main/d/docker.io
Checksums-Sha256:
 ${"0".repeat(64)} 7150 docker.io_27.5.1+dfsg4-1.dsc
 ${sha256} 1406148 docker.io_27.5.1+dfsg4.orig-buildkit.tar.xz
 ${"1".repeat(64)} 4443500 docker.io_27.5.1+dfsg4.orig.tar.xz
Build-Depends: golang

Package: docker.io
Version: 20.10.24+dfsg1-1
Directory: pool/main/d/docker.io
Checksums-Sha256:
 ${"2".repeat(64)} 4443500 docker.io_20.10.24+dfsg1.orig.tar.xz

Package: docker-clean
`;

test("each version that an index tells is found by its tarball, and those without it are not", () => {
  const index = { mirror: "http://mirror/debian", apt: ["-o", "A=b"] };
  expect(tarballsOf(stanzas, { package: "docker.io", tarball: "orig-buildkit" }, "sid", index)).toEqual([
    {
      package: "docker.io",
      version: "27.5.1+dfsg4",
      release: "sid",
      file: "docker.io_27.5.1+dfsg4.orig-buildkit.tar.xz",
      url: "http://mirror/debian/pool/main/d/docker.io/docker.io_27.5.1+dfsg4.orig-buildkit.tar.xz",
      sha256,
      apt: ["-o", "A=b"],
    },
  ]);
  const versions = tarballsOf(stanzas, { package: "docker.io" }, "sid", index).map(({ version }) => version);
  expect(versions).toEqual(["27.5.1+dfsg4", "20.10.24+dfsg1"]);
});
