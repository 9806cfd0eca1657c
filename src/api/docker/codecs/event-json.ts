/** Events as Docker sends them, and their filters. */
import type { EngineEvent } from "../../../schema/event.ts";
import type { Filters } from "../../../instances/instance-service.ts";
import { matchesLabels } from "./label-filter.ts";

/** With the fields of before 1.22, which Docker's clients still read. */
export function eventJson(event: EngineEvent): object {
  const nano = BigInt(event.timeNano);
  const legacy = event.type === "container" || event.type === "image";
  return {
    ...(legacy ? { status: event.action, id: event.actorId } : {}),
    ...(event.type === "container" ? { from: event.attributes.image ?? "" } : {}),
    Type: event.type,
    Action: event.action,
    Actor: { ID: event.actorId, Attributes: event.attributes },
    scope: "local",
    time: Number(nano / 1_000_000_000n),
    timeNano: rawNumber(event.timeNano),
  };
}

/** Nanoseconds don't fit a double: the JSON text gets the digits as they are. See {@link eventLine}. */
function rawNumber(digits: string): string {
  return `${marker}${digits}`;
}

const marker = "\u0000nano:";
const marked = /"\\u0000nano:(\d+)"/;

/** One line of the stream. */
export function eventLine(event: EngineEvent): string {
  return `${JSON.stringify(eventJson(event)).replace(marked, "$1")}\n`;
}

/** Whether an event passes all filters; a filter of several values passes when one of them matches. */
export function eventFilter(filters: Filters): (event: EngineEvent) => boolean {
  return (event) =>
    Object.entries(filters).every(([name, values]) => values.length === 0 || matches(name, values, event));
}

function matches(name: string, values: readonly string[], event: EngineEvent): boolean {
  switch (name) {
    case "type":
      return values.includes(event.type);
    case "event":
      // "health_status" also means "health_status: healthy", "exec_create" each "exec_create: COMMAND".
      return values.some((value) => event.action === value || event.action.startsWith(`${value}:`));
    case "scope":
      return values.includes("local");
    case "label":
      return matchesLabels(event.attributes, values);
    case "image":
      return (event.type === "image" || event.type === "container") && values.some((value) => isImage(event, value));
    case "container":
    case "network":
    case "volume":
    case "daemon":
    case "builder":
      return event.type === name && values.some((value) => isActor(event, value));
    default:
      // Swarm's objects and plugins: there are none.
      return false;
  }
}

function isActor(event: EngineEvent, value: string): boolean {
  if (value === "") return false;
  return event.attributes.name === value || event.actorId === value || event.actorId.startsWith(value);
}

/** "debian" means every tag of it. */
function isImage(event: EngineEvent, value: string): boolean {
  const name = event.type === "image" ? (event.attributes.name ?? event.actorId) : (event.attributes.image ?? "");
  return name === value || event.actorId === value || name.replace(/:[^:/]*$/, "") === value;
}
