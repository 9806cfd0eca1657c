/** Variables of Docker's legacy links: on the default bridge a linked instance's address, ports and environment are told. */
import { parseLink } from "../network/links.ts";
import type { InstanceRecord, InstanceSpec } from "../schema/instance.ts";
import type { InstanceRecords } from "./instance-records.ts";
import { mergeEnvironment } from "./environment.ts";

/** The instance's own network that links are told on. */
const defaultNetwork = "bridge";

/** The specification with the variables of its links; its own variables win. */
export function withLinkEnvironment(
  { name, spec }: Pick<InstanceRecord, "name" | "spec">,
  records: Pick<InstanceRecords, "all">,
): InstanceSpec {
  const links = spec.network.endpoints[defaultNetwork]?.links ?? [];
  if (links.length === 0) return spec;
  const told = links.flatMap((link) => {
    const { target, alias } = parseLink(link);
    const linked = records
      .all()
      .find((other) => other.name === target || (target.length >= 12 && other.id.startsWith(target)));
    return linked === undefined ? [] : linkVariables(`/${name}/${alias}`, alias, linked);
  });
  return { ...spec, process: { ...spec.process, env: [...mergeEnvironment(told, spec.process.env)] } };
}

/** What Docker's own images read: DB_PORT, DB_PORT_5432_TCP_ADDR, DB_NAME, DB_ENV_USER, ... */
function linkVariables(path: string, alias: string, { spec, state }: InstanceRecord): readonly string[] {
  const prefix = alias.toUpperCase().replaceAll("-", "_");
  const endpoint = state.endpoints.find(({ networkName }) => networkName === defaultNetwork);
  const address = endpoint?.ipv4Cidr.split("/")[0] ?? "";
  const ports = spec.network.exposedPorts.map(portOf).sort(byProtocolAndNumber);
  const [first] = address === "" ? [] : ports;
  return [
    ...(first === undefined ? [] : [`${prefix}_PORT=${first.protocol}://${address}:${first.number}`]),
    ...(address === "" ? [] : ports).flatMap(({ number, protocol }) => {
      const port = `${prefix}_PORT_${number}_${protocol.toUpperCase()}`;
      return [
        `${port}=${protocol}://${address}:${number}`,
        `${port}_ADDR=${address}`,
        `${port}_PORT=${number}`,
        `${port}_PROTO=${protocol}`,
      ];
    }),
    `${prefix}_NAME=${path}`,
    ...spec.process.env.filter((entry) => !/^(HOME|PATH)=/.test(entry)).map((entry) => `${prefix}_ENV_${entry}`),
  ];
}

interface Port {
  readonly number: number;
  readonly protocol: string;
}

/** Of "80/tcp". */
function portOf(text: string): Port {
  const [number = "", protocol = "tcp"] = text.split("/");
  return { number: Number.parseInt(number, 10), protocol };
}

/** TCP first, as the one that a client most likely wants. */
function byProtocolAndNumber(a: Port, b: Port): number {
  return Number(b.protocol === "tcp") - Number(a.protocol === "tcp") || a.number - b.number;
}
