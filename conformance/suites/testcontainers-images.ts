/** Stand-ins for the images of testcontainers-node's tests: small servers on Node.js, and the library's own reaper. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { busyboxArchive } from "../../test/support/busybox-image.ts";
import { runCommand } from "../../test/support/run-command.ts";
import { hostPrograms } from "../host-programs.ts";
import { npmModules } from "../npm-modules.ts";
import { archiveTag, busyboxStandIn, type StandIn } from "../stand-ins.ts";
import type { Source } from "../suite.ts";

type Files = Readonly<Record<string, string | Buffer>>;

export async function testcontainersImages({ directory }: Source): Promise<readonly StandIn[]> {
  const programs = await hostPrograms({
    "usr/local/bin/node": process.execPath,
    "usr/bin/openssl": "/usr/bin/openssl",
    "usr/bin/dumb-init": "/usr/bin/tini-static",
    "bin/bash": "/bin/bash",
    "usr/bin/getent": "/usr/bin/getent",
    "usr/sbin/getpcaps": "/usr/sbin/getpcaps",
  });
  const express = await filesBelow(await npmModules({ express: "4.16.4" }));
  const server = join(directory, "packages/testcontainers/fixtures/docker/docker/index.js");
  const node: Files = {
    ...programs,
    ...under("opt/modules", express),
    "etc/passwd":
      "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/ssl/openssl.cnf": await readFile("/etc/ssl/openssl.cnf", "utf8"),
    "usr/lib/ssl/openssl.cnf": await readFile("/etc/ssl/openssl.cnf", "utf8"),
    "etc/ssl/private/.keep": "",
    "etc/ssl/certs/.keep": "",
    // The fixtures' Dockerfiles install with these. What they ask for is here already, so that no internet is needed.
    "sbin/apk": Buffer.from("#!/bin/sh\nexit 0\n"),
    "usr/local/bin/npm": Buffer.from('#!/bin/sh\n[ "$1" = init ] || cp -r /opt/modules node_modules\n'),
    "usr/bin/wget": Buffer.from('#!/bin/sh\nfor last; do :; done\nexec busybox wget -q -O /dev/null "$last"\n'),
    "var/log/.keep": "",
    "usr/bin/curl": Buffer.from('#!/bin/sh\nfor last; do :; done\nexec wget -q -O - "$last"\n'),
  };
  const image = (names: readonly string[], files: Files, config: object, cmd: readonly string[]): StandIn => ({
    names,
    archive: async () => await busyboxArchive({ tags: [archiveTag], files, config: { ...config }, cmd }),
  });
  const entrypoint = { Entrypoint: ["/usr/bin/dumb-init", "--"], ExposedPorts: { "8080/tcp": {} } };
  const testServer = { ...node, ...under("node_modules", express), "index.js": await readFile(server, "utf8") };
  return [
    image(["docker.io/library/node:10-alpine", "docker.io/library/node:latest"], node, {}, ["node"]),
    image(["docker.io/cristianrgreco/testcontainer:1.1.14"], { ...testServer, ...(await certificate()) }, entrypoint, [
      "node",
      "index.js",
    ]),
    image(
      ["docker.io/testcontainers/ryuk:0.14.0"],
      {
        ...(await hostPrograms({ "usr/local/bin/node": process.execPath })),
        "reaper.cjs": await readFile(new URL("../stand-in-programs/reaper.cjs", import.meta.url), "utf8"),
      },
      { ExposedPorts: { "8080/tcp": {} }, Labels: { "org.testcontainers.ryuk": "true" } },
      ["node", "/reaper.cjs"],
    ),
    image(
      ["docker.io/mendhak/udp-listener:latest"],
      {
        ...(await hostPrograms({ "usr/local/bin/node": process.execPath })),
        "listener.cjs": await readFile(new URL("../stand-in-programs/udp-listener.cjs", import.meta.url), "utf8"),
      },
      { ExposedPorts: { "5005/udp": {} } },
      ["node", "/listener.cjs"],
    ),
    image(
      ["docker.io/alpine/socat:1.7.4.3-r0"],
      await hostPrograms({ "usr/bin/socat": "/usr/bin/socat" }),
      { Entrypoint: ["socat"] },
      [],
    ),
    ...["latest", "3.10", "3.14"].map((tag) => busyboxStandIn([`docker.io/library/alpine:${tag}`])),
  ];
}

function under(directory: string, files: Files): Files {
  return Object.fromEntries(Object.entries(files).map(([path, content]) => [`${directory}/${path}`, content]));
}

async function filesBelow(directory: string): Promise<Files> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files[relative(directory, path)] = await readFile(path, "utf8");
  }
  return files;
}

/** The server's own, where its image has it. */
async function certificate(): Promise<Files> {
  const work = await mkdtemp(join(tmpdir(), "berth-conformance-certificate-"));
  try {
    const key = join(work, "key");
    const cert = join(work, "cert");
    const words = ["req", "-x509", "-nodes", "-days", "3650", "-subj", "/CN=localhost", "-newkey", "rsa:2048"];
    const { code, stderr } = await runCommand("openssl", [...words, "-keyout", key, "-out", cert]);
    if (code !== 0) throw new Error(`openssl makes no certificate: ${stderr}`);
    return {
      "etc/ssl/private/cert.key": await readFile(key, "utf8"),
      "etc/ssl/certs/cert.crt": await readFile(cert, "utf8"),
    };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
