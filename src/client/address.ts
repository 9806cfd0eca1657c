import { clientErrors } from "./errors.ts";

/** Where an engine listens. */
export type EngineAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly tls: boolean };

export const defaultHost = "unix:///run/berth/docker.sock";

/** Reads `-H`'s value as docker does: unix:///path, tcp://host[:port], http(s)://, or a bare path. `HOST_INVALID`. */
export function parseHost(host: string): EngineAddress {
  if (host.startsWith("/")) return { kind: "unix", path: host };
  const unix = /^unix:\/\/(\/.+)$/.exec(host);
  if (unix?.[1] !== undefined) return { kind: "unix", path: unix[1] };
  const tcp = /^(tcp|http|https):\/\/(\[[0-9a-fA-F:]+\]|[^/:]+)(?::(\d+))?\/?$/.exec(host);
  if (tcp?.[2] === undefined) throw clientErrors.HOST_INVALID({ host });
  const tls = tcp[1] === "https" || tcp[3] === "2376";
  return { kind: "tcp", host: tcp[2].replace(/^\[|\]$/g, ""), port: Number(tcp[3] ?? (tls ? 2376 : 2375)), tls };
}
