/** What an instance finds in /etc/hosts and /etc/hostname. Pure. */
import { networkErrors } from "./errors.ts";
import { parseIp } from "./ip-address.ts";

export interface HostsEntry {
  readonly address: string;
  readonly names: readonly string[];
}

/** Docker's own first lines. */
const preamble: readonly HostsEntry[] = [
  { address: "127.0.0.1", names: ["localhost"] },
  { address: "::1", names: ["localhost", "ip6-localhost", "ip6-loopback"] },
  { address: "fe00::", names: ["ip6-localnet"] },
  { address: "ff00::", names: ["ip6-mcastprefix"] },
  { address: "ff02::1", names: ["ip6-allnodes"] },
  { address: "ff02::2", names: ["ip6-allrouters"] },
];

/** For an instance with a namespace of its own. `own` are its addresses, on each of which it has its host name. */
export function renderHosts(request: {
  readonly hostname: string;
  readonly domainname: string;
  readonly own: readonly string[];
  readonly extra: readonly HostsEntry[];
}): string {
  const { hostname, domainname } = request;
  const names = domainname === "" ? [hostname] : [`${hostname}.${domainname}`, hostname];
  return lines([...preamble, ...request.extra, ...request.own.map((address) => ({ address, names }))]);
}

/** With `--network host`: the host's own file, with the extra names behind. */
export function renderHostModeHosts(hostFile: string, extra: readonly HostsEntry[]): string {
  const text = hostFile === "" ? lines(preamble) : hostFile;
  return (text.endsWith("\n") ? text : `${text}\n`) + lines(extra);
}

/** `--add-host` values, "name:ip" or "name=ip"; "host-gateway" stands for `gateway`. `EXTRA_HOST_INVALID`. */
export function parseExtraHosts(values: readonly string[], gateway: string): readonly HostsEntry[] {
  return values.map((value) => {
    const cut = value.includes("=") ? value.indexOf("=") : value.indexOf(":");
    const name = value.slice(0, cut);
    const text = value.slice(cut + 1).replace(/^\[(.*)\]$/, "$1");
    const address = text === "host-gateway" ? gateway : text;
    if (cut < 1 || parseIp(address) === undefined) throw networkErrors.EXTRA_HOST_INVALID({ value });
    return { address, names: [name] };
  });
}

function lines(entries: readonly HostsEntry[]): string {
  return entries.map(({ address, names }) => `${address}\t${names.join(" ")}\n`).join("");
}
