import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { copyFile, mkdir, writeFile } from "../../host/files.ts";
import type { TarFile } from "../tar-writer.ts";
import { formatSource, isPublic, type AptSource } from "./apt-sources.ts";

/** In every Debian-like base image: what the distribution's own keyring package holds. */
const PACKAGED_KEYRING = /^\/usr\/share\/keyrings\/(?:debian|ubuntu)-archive-keyring\.(?:gpg|pgp)$/;

/** Files that a container's base image has beyond the distribution's packages. Why, beside each. */
const FILES: readonly { readonly path: string; readonly mode: number; readonly text: string }[] = [
  {
    // Packages must not start their services while an image is built. mmdebstrap removes its own at the end.
    path: "usr/sbin/policy-rc.d",
    mode: 0o755,
    text: "#!/bin/sh\n# No service is started by a package's installation inside of a container.\nexit 101\n",
  },
  {
    // Downloaded packages and apt's caches would only make layers bigger.
    path: "etc/apt/apt.conf.d/docker-clean",
    mode: 0o644,
    text: 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n',
  },
  {
    path: "etc/apt/apt.conf.d/docker-no-languages",
    mode: 0o644,
    text: 'Acquire::Languages "none";\n',
  },
  {
    path: "etc/apt/apt.conf.d/docker-gzip-indexes",
    mode: 0o644,
    text: 'Acquire::GzipIndexes "true";\n',
  },
];

/** Their directories, and the mount point that mmdebstrap leaves out with the device nodes. */
const DIRECTORIES = ["dev/", "etc/", "etc/apt/", "etc/apt/apt.conf.d/", "usr/", "usr/sbin/"] as const;

/**
 * What goes before mmdebstrap's own tar. Its hooks would be too early: it is still to use apt and to clean up. `mtime` in seconds
 * since the epoch.
 */
export function entriesBefore(mtime: number): readonly TarFile[] {
  return [
    ...DIRECTORIES.map((name): TarFile => ({ kind: "directory", name, mtime })),
    ...FILES.map(({ path, mode, text }): TarFile => {
      const body = Buffer.from(text);
      return { kind: "file", name: path, mode, mtime, size: body.length, body };
    }),
  ];
}

/** Name of the file of sources: mmdebstrap puts it into sources.list.d with this prefix, where the overlay's replaces it. */
export const SOURCES_FILE = "distribution.list";
const SOURCES_IN_IMAGE = `etc/apt/sources.list.d/0000${SOURCES_FILE}`;

/**
 * Writes under `directory` what is put over the bootstrapped root: the sources that a container can use by itself, with their keys.
 * Sources with passwords stay on the host.
 */
export async function writeRootOverlay(
  directory: string,
  sources: readonly AptSource[],
  secretHosts: ReadonlySet<string>,
): Promise<void> {
  const lines: string[] = [];
  for (const source of sources.filter((source) => isPublic(source, secretHosts))) {
    lines.push(formatSource(await withKeyInside(directory, source)));
  }
  await write(directory, SOURCES_IN_IMAGE, lines.map((line) => `${line}\n`).join(""), 0o644);
}

/** A key that the image would not have goes among those that its apt trusts. */
async function withKeyInside(directory: string, source: AptSource): Promise<AptSource> {
  const { signedBy, ...rest } = source;
  if (signedBy === undefined || ("path" in signedBy && PACKAGED_KEYRING.test(signedBy.path))) return source;
  const host = URL.canParse(source.uri) ? new URL(source.uri).hostname : "archive";
  const key = "path" in signedBy ? await readFile(signedBy.path) : Buffer.from(signedBy.key);
  const extension = key.includes("BEGIN PGP") ? ".asc" : ".gpg";
  const name = "path" in signedBy ? basename(signedBy.path).replace(/\.(?:gpg|asc|pgp)$/, "") : host;
  const target = join("etc/apt/trusted.gpg.d", `${name}${extension}`);
  if ("path" in signedBy) {
    await mkdir(join(directory, dirname(target)), { recursive: true, mode: 0o755 });
    await copyFile(signedBy.path, join(directory, target));
  } else {
    await write(directory, target, signedBy.key, 0o644);
  }
  return rest;
}

async function write(directory: string, path: string, text: string, mode: number): Promise<void> {
  const target = join(directory, path);
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  await writeFile(target, text, { mode });
}
