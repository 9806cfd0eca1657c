import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import type { EngineConfig } from "../../schema/config.ts";
import type { RegistryAuth } from "../image-service.ts";
import type { Reference } from "../reference.ts";
import type { RegistryCertificates } from "./certificates.ts";
import { mirrorsOf } from "./mirrors.ts";
import type { TlsSettings } from "./transport.ts";

/** Where a registry is spoken to. */
export interface Endpoint {
  /** As named by the user, for messages and credentials: "docker.io", "localhost:5000". */
  readonly host: string;
  /** Base URL, without "/v2/". */
  readonly url: URL;
  readonly tls: TlsSettings;
  /** May be spoken to without TLS, or with an unknown certificate. */
  readonly insecure: boolean;
  readonly mirror: boolean;
  /** Credentials that the mirror's own URL holds. */
  readonly auth?: RegistryAuth;
}

const DOCKER_HUB = "docker.io";
const DOCKER_HUB_HOST = "registry-1.docker.io";

/** Chooses the endpoints of a reference: mirrors first (only to pull), then the registry itself. */
export class Endpoints {
  readonly #config: Pick<EngineConfig, "registryMirrors" | "insecureRegistries">;
  readonly #certificates: RegistryCertificates;

  constructor(
    config: Pick<EngineConfig, "registryMirrors" | "insecureRegistries">,
    certificates: RegistryCertificates,
  ) {
    this.#config = config;
    this.#certificates = certificates;
  }

  async forPull(reference: Reference): Promise<readonly Endpoint[]> {
    const mirrors = mirrorsOf(reference.domain, this.#config.registryMirrors);
    const endpoints: Endpoint[] = [];
    for (const mirror of mirrors) endpoints.push(await this.#mirror(mirror));
    return [...endpoints, await this.forPush(reference)];
  }

  async forPush(reference: Reference): Promise<Endpoint> {
    return await this.forRegistry(reference.domain);
  }

  /** The registry itself, by its domain: "docker.io", "localhost:5000". */
  async forRegistry(host: string): Promise<Endpoint> {
    const address = host === DOCKER_HUB ? DOCKER_HUB_HOST : host;
    const insecure = await this.#isInsecure(address);
    const tls = await this.#certificates.settings(address, !insecure);
    return { host, url: new URL(`https://${address}`), tls, insecure, mirror: false };
  }

  async #mirror(text: string): Promise<Endpoint> {
    const url = new URL(text.includes("://") ? text : `https://${text}`);
    const auth =
      url.username === ""
        ? undefined
        : { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
    url.username = "";
    url.password = "";
    const insecure = url.protocol === "http:" || (await this.#isInsecure(url.host));
    const tls = await this.#certificates.settings(url.host, !insecure);
    return { host: url.host, url, tls, insecure, mirror: true, ...(auth === undefined ? {} : { auth }) };
  }

  /** Loopback always, else what the configuration names by host, host:port or CIDR. */
  async #isInsecure(address: string): Promise<boolean> {
    const host = address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
    if (host === "localhost" || (isIP(host) !== 0 && LOOPBACK.check(host, isIP(host) === 6 ? "ipv6" : "ipv4")))
      return true;
    const names = this.#config.insecureRegistries;
    if (names.includes(address) || names.includes(host)) return true;
    const blocks = cidrList(names);
    if (blocks === undefined) return false;
    const addresses = isIP(host) !== 0 ? [{ address: host, family: isIP(host) }] : await resolve(host);
    return addresses.some(({ address, family }) => blocks.check(address, family === 6 ? "ipv6" : "ipv4"));
  }
}

/** Whose credentials Docker's configuration keeps for this registry. */
export function credentialKey(domain: string): string {
  return domain === DOCKER_HUB ? "https://index.docker.io/v1/" : domain;
}

/** The domain that a server address of Docker's configuration means: "https://index.docker.io/v1/" and "" are docker.io. */
export function registryDomain(serverAddress: string): string {
  const host = serverAddress.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "index.docker.io", DOCKER_HUB_HOST].includes(host) ? DOCKER_HUB : host;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

function cidrList(names: readonly string[]): BlockList | undefined {
  let blocks: BlockList | undefined;
  for (const name of names) {
    const [network = "", bits] = name.split("/");
    if (bits === undefined || isIP(network) === 0) continue;
    blocks ??= new BlockList();
    blocks.addSubnet(network, Number(bits), isIP(network) === 6 ? "ipv6" : "ipv4");
  }
  return blocks;
}

async function resolve(host: string): Promise<readonly { readonly address: string; readonly family: number }[]> {
  try {
    return await lookup(host, { all: true });
  } catch {
    // A name that does not resolve is in no CIDR; connecting to it says so to the user.
    return [];
  }
}
