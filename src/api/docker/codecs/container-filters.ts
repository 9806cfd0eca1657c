/** `docker ps --filter`. */
import { isBerthError } from "../../../base/errors.ts";
import type { Filters } from "../../../instances/instance-service.ts";
import type { InstanceRecord } from "../../../schema/instance.ts";
import type { DockerBackend } from "../backend.ts";
import { apiErrors } from "../errors.ts";
import { anyPattern, filterFlag } from "./filter-values.ts";
import { matchesLabels } from "./label-filter.ts";
import { parsePort } from "./ports.ts";

type Test = (record: InstanceRecord) => boolean;

/** Docker's filters, compiled once for a whole list. */
export interface ContainerFilter {
  readonly matches: Test;
  /** Whether a filter asks for containers that don't run, so that `all` is implied. */
  readonly includesStopped: boolean;
}

export function containerFilter(filters: Filters, backend: DockerBackend): ContainerFilter {
  const tests = Object.entries(filters)
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => test(name, values, backend));
  return {
    matches: (record) => tests.every((matches) => matches(record)),
    includesStopped: (filters.status ?? []).length > 0,
  };
}

const statuses = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const healths = ["none", "starting", "healthy", "unhealthy"];

function test(name: string, values: readonly string[], backend: DockerBackend): Test {
  switch (name) {
    case "id":
      return idTest(values);
    case "name":
      return nameTest(values);
    case "label":
      return (record) => matchesLabels(record.spec.labels, values);
    case "status":
      requireKnown(name, "state", values, statuses);
      return (record) => values.includes(record.state.status);
    case "health":
      requireKnown(name, "health", values, healths);
      return (record) => values.includes(record.state.health?.status ?? "none");
    case "exited": {
      const codes = values.map((value) => integer(name, value));
      return ({ state }) => state.status === "exited" && state.startedAt !== "" && codes.includes(state.exitCode);
    }
    case "ancestor":
      return ancestorTest(values, backend);
    case "before":
      return orderTest(values, backend, (record, other) => record.createdAt < other.createdAt);
    case "since":
      return orderTest(values, backend, (record, other) => record.createdAt > other.createdAt);
    case "network":
      return networkTest(values, backend);
    case "volume":
      return ({ spec }) =>
        spec.mounts.some(
          (mount) =>
            values.includes(mount.target) ||
            (mount.type === "volume" && values.includes(mount.name)) ||
            (mount.type === "bind" && values.includes(mount.source)),
        );
    case "publish":
      return portTest(values, (record) => record.state.ports.map((port) => `${port.hostPort}/${port.protocol}`));
    case "expose":
      return portTest(values, (record) => [
        ...record.spec.network.exposedPorts,
        ...record.state.ports.map((port) => `${port.containerPort}/${port.protocol}`),
      ]);
    case "is-task": {
      // Swarm's tasks: there are none.
      const wanted = filterFlag(name, values);
      return () => !wanted;
    }
    case "isolation":
      return () => values.includes("default");
    default:
      throw apiErrors.API_INVALID_FILTER({ name });
  }
}

function idTest(values: readonly string[]): Test {
  const matches = anyPattern(values);
  return ({ id }) => matches(id);
}

/** A regular expression anywhere in the name, which Docker also takes with its leading slash. */
function nameTest(values: readonly string[]): Test {
  const matches = anyPattern(values);
  return ({ name }) => matches(`/${name}`) || matches(name);
}

/** The image itself, and whatever was built on it. */
function ancestorTest(values: readonly string[], { images }: DockerBackend): Test {
  const ids = new Set<string>();
  const chains: string[][] = [];
  for (const value of values) {
    try {
      const image = images.resolve(value);
      ids.add(image.id);
      chains.push([...image.config.rootfs.diff_ids]);
    } catch (error) {
      // No such image: nothing descends from it.
      if (!isBerthError(error)) throw error;
    }
  }
  const byImage = new Map(images.list({ intermediate: true }).map((image) => [image.id, image.config.rootfs.diff_ids]));
  return (record) => {
    if (ids.has(record.imageId)) return true;
    const layers = byImage.get(record.imageId) ?? [];
    return chains.some((chain) => chain.length > 0 && chain.every((diffId, index) => layers[index] === diffId));
  };
}

function orderTest(
  values: readonly string[],
  { instances }: DockerBackend,
  compare: (record: InstanceRecord, other: InstanceRecord) => boolean,
): Test {
  const others = values.map((value) => instances.resolve(value));
  return (record) => others.every((other) => compare(record, other));
}

function networkTest(values: readonly string[], { networks }: DockerBackend): Test {
  const names = new Set(values);
  for (const network of networks.list()) {
    if (values.some((value) => value !== "" && network.id.startsWith(value))) names.add(network.spec.name);
  }
  return ({ spec, state }) =>
    names.has(spec.network.mode) ||
    Object.keys(spec.network.endpoints).some((name) => names.has(name)) ||
    state.endpoints.some((endpoint) => names.has(endpoint.networkName));
}

function portTest(values: readonly string[], portsOf: (record: InstanceRecord) => readonly string[]): Test {
  const wanted = values.flatMap((value) => {
    const { first, last, protocol } = parsePort(value);
    return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
  });
  return (record) => portsOf(record).some((port) => wanted.includes(port));
}

function requireKnown(name: string, what: string, values: readonly string[], known: readonly string[]): void {
  for (const value of values) {
    if (known.includes(value)) continue;
    throw apiErrors.API_BAD_REQUEST({
      message: `invalid filter '${name}=${value}': invalid value for ${what} (${value}): must be one of ${known.join(", ")}`,
    });
  }
}

function integer(name: string, value: string): number {
  if (!/^-?\d+$/.test(value)) throw apiErrors.API_INVALID_FILTER_VALUE({ name, value });
  return Number(value);
}
