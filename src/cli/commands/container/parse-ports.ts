import type { PortSpec } from "../../../schema/network.ts";
import { cliErrors } from "../../errors.ts";

export interface Ports {
  /** "80/tcp" -> {}. */
  readonly exposed: Record<string, object>;
  /** "80/tcp" -> [{ HostIp, HostPort }]. */
  readonly bindings: Record<string, { HostIp: string; HostPort: string }[]>;
}

/** Reads `-p` and `--expose`: "80", "8080:80", "127.0.0.1:8080:80/udp", "8000-8010:80", "8000-8002:80-82", "[::1]:80:80". */
export function parsePorts(publish: readonly string[], expose: readonly string[]): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const word of expose) {
    const [range = "", protocol = "tcp"] = word.split("/");
    const { first, last } = parseRange(range, "expose", word);
    for (let port = first; port <= last; port++) ports.exposed[`${port}/${protocol.toLowerCase()}`] = {};
  }
  for (const word of publish) addPublished(ports, word);
  return ports;
}

/** The same words as Berth's own routes take them. */
export function portSpecs(publish: readonly string[]): PortSpec[] {
  return Object.entries(parsePorts(publish, []).bindings).flatMap(([key, bindings]) => {
    const [port, protocol] = key.split("/");
    if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") return [];
    return bindings.map(({ HostIp, HostPort }) => {
      const [first, last] = HostPort.split("-");
      return {
        containerPort: Number(port),
        protocol,
        hostIp: HostIp,
        hostPort: Number(first),
        ...(last === undefined ? {} : { hostPortEnd: Number(last) }),
      };
    });
  });
}

function addPublished(ports: Ports, word: string): void {
  const match = /^(?:(?:(\[[0-9a-fA-F:]+\]|[0-9.]*):)?([\d-]*):)?([\d-]+)(?:\/(tcp|udp|sctp))?$/i.exec(word);
  if (match?.[3] === undefined)
    throw cliErrors.OPTION_INVALID({
      option: "publish",
      value: word,
      reason: "[[IP:]HOSTPORT:]PORT[/tcp|udp] is needed",
    });
  const address = (match[1] ?? "").replace(/^\[|\]$/g, "");
  const container = parseRange(match[3], "publish", word);
  const host = match[2] === undefined || match[2] === "" ? undefined : parseRange(match[2], "publish", word);
  const width = container.last - container.first;
  if (host !== undefined && width > 0 && host.last - host.first !== width)
    throw cliErrors.OPTION_INVALID({ option: "publish", value: word, reason: "both ranges must have the same length" });
  for (let offset = 0; offset <= width; offset++) {
    const key = `${container.first + offset}/${(match[4] ?? "tcp").toLowerCase()}`;
    const hostPort =
      host === undefined
        ? ""
        : width === 0 && host.last > host.first
          ? `${host.first}-${host.last}`
          : `${host.first + offset}`;
    ports.exposed[key] = {};
    (ports.bindings[key] ??= []).push({ HostIp: address, HostPort: hostPort });
  }
}

function parseRange(text: string, option: string, word: string): { readonly first: number; readonly last: number } {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || last < first || first > 65535 || last > 65535)
    throw cliErrors.OPTION_INVALID({ option, value: word, reason: "ports are at most 65535, ranges FIRST-LAST" });
  return { first, last };
}
