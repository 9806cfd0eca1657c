/** A small image made on the spot from the host's static busybox, as a docker-archive: no registry needed. */
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { pack } from "tar-stream";

export interface ImageOptions {
  readonly tags: readonly string[];
  readonly cmd?: readonly string[];
  /** Further files of the root, by path: a text, or bytes that are a program. */
  readonly files?: Readonly<Record<string, string | Buffer>>;
  /** Merged into the image's run configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Bytes of an archive for `docker load`. */
export async function busyboxArchive(options: ImageOptions): Promise<Buffer> {
  const layer = await tarOf(rootEntries(options.files ?? {}));
  const diffId = createHash("sha256").update(layer).digest("hex");
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    created: "2024-01-02T03:04:05Z",
    config: {
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      Cmd: options.cmd ?? ["sh"],
      ...options.config,
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
    history: [{ created: "2024-01-02T03:04:05Z", created_by: "busybox" }],
  });
  const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
  const manifest = JSON.stringify([{ Config: configName, RepoTags: options.tags, Layers: [`${diffId}/layer.tar`] }]);
  return await tarOf([
    { name: `${diffId}/layer.tar`, data: layer },
    { name: configName, data: Buffer.from(config) },
    { name: "manifest.json", data: Buffer.from(manifest) },
  ]);
}

interface Entry {
  readonly name: string;
  readonly data?: Buffer;
  readonly mode?: number;
  readonly link?: string;
}

function rootEntries(files: Readonly<Record<string, string | Buffer>>): readonly Entry[] {
  const program = "/bin/busybox";
  const applets = execFileSync(program, ["--list"], { encoding: "utf8" })
    .split("\n")
    .filter((name) => name !== "" && name !== "busybox");
  return [
    ...["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/sbin", "var", "var/tmp"].map((name) => ({
      name: `${name}/`,
      mode: name.endsWith("tmp") ? 0o1777 : 0o755,
    })),
    { name: "bin/busybox", data: readFileSync(program), mode: 0o755 },
    ...applets.map((name) => ({ name: `bin/${name}`, link: "busybox" })),
    {
      name: "etc/passwd",
      data: Buffer.from(
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww:x:33:33:www:/var:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
      ),
    },
    { name: "etc/group", data: Buffer.from("root:x:0:\ndaemon:x:1:\nwww:x:33:\naudio:x:29:www\nnogroup:x:65534:\n") },
    ...Object.entries(files).map(([path, content]) => {
      const name = path.replace(/^\//, "");
      return typeof content === "string" ? { name, data: Buffer.from(content) } : { name, data: content, mode: 0o755 };
    }),
  ];
}

async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  const mtime = new Date("2024-01-02T03:04:05Z");
  // The later of two by the same name: Docker refuses a layer that has both.
  const unique = [...new Map(entries.map((entry) => [entry.name, entry])).values()];
  for (const { name, data, mode, link } of unique) {
    if (link !== undefined) archive.entry({ name, type: "symlink", linkname: link, mtime });
    else if (name.endsWith("/")) archive.entry({ name, type: "directory", mode: mode ?? 0o755, mtime });
    else archive.entry({ name, mode: mode ?? 0o644, mtime }, data ?? Buffer.alloc(0));
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
