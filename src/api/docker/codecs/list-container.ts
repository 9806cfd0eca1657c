import { humanDuration } from "../../../base/human-duration.ts";
/** `GET /containers/json`: one row of `docker ps`. */
import type { InstanceRecord, InstanceState } from "../../../schema/instance.ts";
import type { DockerBackend } from "../backend.ts";
import type { Sizes } from "./inspect-container.ts";
import { mountPoints } from "./mount-points.ts";
import { endpointSettings, portList } from "./network-settings.ts";
import { unixSeconds } from "./timestamps.ts";

export function containerSummary(record: InstanceRecord, backend: DockerBackend, image: string, sizes?: Sizes): object {
  const { spec } = record;
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    Image: image,
    ImageID: record.imageId,
    Command: commandLine([...spec.process.entrypoint, ...spec.process.cmd]),
    Created: unixSeconds(record.createdAt),
    Ports: portList(record),
    ...(sizes === undefined ? {} : { SizeRw: sizes.rw, SizeRootFs: sizes.rootFs }),
    Labels: spec.labels,
    State: record.state.status,
    Status: statusText(record.state, Date.now()),
    HostConfig: {
      NetworkMode: spec.network.mode,
      ...(Object.keys(spec.annotations).length === 0 ? {} : { Annotations: spec.annotations }),
    },
    NetworkSettings: { Networks: endpointSettings(record, backend.networks) },
    Mounts: mountPoints(record, backend.volumes),
  };
}

/** "Up 5 minutes (healthy)", "Exited (137) 2 hours ago". */
export function statusText(state: InstanceState, now: number): string {
  switch (state.status) {
    case "running":
      return `Up ${since(state.startedAt, now)}${healthText(state)}`;
    case "paused":
      return `Up ${since(state.startedAt, now)} (Paused)`;
    case "restarting":
      return `Restarting (${state.exitCode}) ${since(state.finishedAt, now)} ago`;
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
    case "created":
      return "Created";
    case "exited":
      return state.finishedAt === "" ? "" : `Exited (${state.exitCode}) ${since(state.finishedAt, now)} ago`;
  }
}

function since(iso: string, now: number): string {
  return humanDuration(Math.max(0, now - Date.parse(iso)));
}

function healthText({ health }: InstanceState): string {
  if (health === null) return "";
  return health.status === "starting" ? " (health: starting)" : ` (${health.status})`;
}

/** Words with spaces are quoted, as Docker joins a command for its table. */
function commandLine(words: readonly string[]): string {
  return words.map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(" ");
}
