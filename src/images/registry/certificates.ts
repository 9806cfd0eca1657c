import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import { messageOf } from "../../base/errors.ts";
import { imageErrors } from "../errors.ts";
import type { TlsSettings } from "./transport.ts";

/**
 * Trust for each registry, from where Docker keeps it: `/etc/docker/certs.d/HOST[:PORT]/` with `*.crt` (CAs), and pairs of
 * `NAME.cert` and `NAME.key` (client certificates).
 */
export class RegistryCertificates {
  readonly #directory: string;
  readonly #known = new Map<string, TlsSettings>();

  constructor(directory = "/etc/docker/certs.d") {
    this.#directory = directory;
  }

  /** Read once for each registry. `verify` false takes any certificate. */
  async settings(host: string, verify: boolean): Promise<TlsSettings> {
    const key = `${host} ${verify}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { ca, ...pair } = await readCertificates(join(this.#directory, host));
    // Giving Node a CA replaces its own list; Docker's daemon trusts the host's and adds the registry's.
    const authorities = [...getCACertificates("default"), ...getCACertificates("system"), ...ca];
    const settings = { verify, ...(verify ? { ca: authorities } : {}), ...pair };
    // Another caller may have been quicker: connections are kept by this object's identity.
    const first = this.#known.get(key) ?? settings;
    this.#known.set(key, first);
    return first;
  }
}

async function readCertificates(
  directory: string,
): Promise<{ readonly ca: readonly string[]; readonly cert?: string; readonly key?: string }> {
  let names: readonly string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) {
      return { ca: [] };
    }
    throw imageErrors.CREDENTIALS_INVALID({ path: directory, reason: messageOf(error) }, { cause: error });
  }
  const read = async (name: string) => await readFile(join(directory, name), "utf8");
  const authorities: string[] = [];
  for (const name of names.filter((name) => name.endsWith(".crt"))) authorities.push(await read(name));
  const pair = names.find((name) => name.endsWith(".cert") && names.includes(`${name.slice(0, -".cert".length)}.key`));
  return {
    ca: authorities,
    ...(pair === undefined ? {} : { cert: await read(pair), key: await read(`${pair.slice(0, -".cert".length)}.key`) }),
  };
}
