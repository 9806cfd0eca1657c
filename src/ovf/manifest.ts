/** The digests of a package's files (DSP0243, 6: "Manifest"). Pure. */
import { ovfErrors } from "./errors.ts";

export type DigestAlgorithm = "sha1" | "sha256" | "sha384" | "sha512";

export interface ManifestLine {
  readonly file: string;
  readonly algorithm: DigestAlgorithm;
  /** Hexadecimal, lower case. */
  readonly digest: string;
}

const algorithms: Readonly<Record<string, DigestAlgorithm>> = {
  SHA1: "sha1",
  "SHA-1": "sha1",
  SHA256: "sha256",
  "SHA-256": "sha256",
  SHA384: "sha384",
  "SHA-384": "sha384",
  SHA512: "sha512",
  "SHA-512": "sha512",
};

/** "SHA256(machine.ovf)= 0123…", a line each. `OVF_INVALID`. */
export function readManifest(text: string): readonly ManifestLine[] {
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const match = /^\s*([A-Za-z0-9-]+)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$/.exec(line);
      const algorithm = algorithms[match?.[1]?.toUpperCase() ?? ""];
      if (match === null || algorithm === undefined) {
        throw ovfErrors.OVF_INVALID({ reason: `the manifest's line ${JSON.stringify(line.slice(0, 80))}` });
      }
      return { file: match[2] ?? "", algorithm, digest: (match[3] ?? "").toLowerCase() };
    });
}

export function writeManifest(files: readonly { readonly file: string; readonly sha256: string }[]): string {
  return files.map(({ file, sha256 }) => `SHA256(${file})= ${sha256}\n`).join("");
}
