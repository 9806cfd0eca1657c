/** `GET /containers/json`: one row of `docker ps`. */
import { humanDuration } from "../../../base/human-duration.ts";
import type { InstanceRecord, InstanceState } from "../../../schema/instance.ts";
import type { DockerBackend } from "../backend.ts";
import type { Sizes } from "./inspect-container.ts";
import { mountPoints } from "./mount-points.ts";
import { endpointSettings, portList } from "./network-settings.ts";
import { unixSeconds } from "./timestamps.ts";

export function containerSummary(record: InstanceRecord, backend: DockerBackend, image: string, sizes?: Sizes): object {
  return { ...lasting(record, backend), ...changing(record, image, sizes, Date.now()) };
}

/** Texts of rows. Made for one list; what a record says of itself is kept from list to list until the record changes. */
export function summaryWriter(
  backend: DockerBackend,
): (record: InstanceRecord, image: string, sizes?: Sizes) => string {
  const now = Date.now();
  // The only thing in a row, but for the image's name, that a record does not decide: who has run names networks, whose ids can change.
  const networks = backend.networks
    .list()
    .map(({ id }) => id)
    .join();
  return (record, image, sizes) => {
    let text = lastingTexts.get(record);
    if (text?.networks !== networks) {
      text = { networks, opened: JSON.stringify(lasting(record, backend)).slice(0, -1) };
      lastingTexts.set(record, text);
    }
    return `${text.opened},${JSON.stringify(changing(record, image, sizes, now)).slice(1)}`;
  };
}

/** By record: every change makes another one, and an old one's text goes with it. The text is an object's without its last brace. */
const lastingTexts = new WeakMap<InstanceRecord, { readonly networks: string; readonly opened: string }>();

/** What stays as it is while record and networks do. Volumes can be looked up: one that a record names is not removed. */
function lasting(record: InstanceRecord, backend: DockerBackend): object {
  const { spec } = record;
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    ImageID: record.imageId,
    Command: commandLine([...spec.process.entrypoint, ...spec.process.cmd]),
    Created: unixSeconds(record.createdAt),
    Ports: portList(record),
    Labels: spec.labels,
    State: record.state.status,
    HostConfig: {
      NetworkMode: spec.network.mode,
      ...(Object.keys(spec.annotations).length === 0 ? {} : { Annotations: spec.annotations }),
    },
    NetworkSettings: { Networks: endpointSettings(record, backend.networks) },
    Mounts: mountPoints(record, backend.volumes),
  };
}

function changing(record: InstanceRecord, image: string, sizes: Sizes | undefined, now: number): object {
  return {
    Image: image,
    Status: statusText(record.state, now),
    ...(sizes === undefined ? {} : { SizeRw: sizes.rw, SizeRootFs: sizes.rootFs }),
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
