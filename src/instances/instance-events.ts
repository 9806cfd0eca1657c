import type { InstanceRecord } from "../schema/instance.ts";
import type { EventBus } from "../state/events.ts";

export type PublishInstanceEvent = (
  record: InstanceRecord,
  action: string,
  attributes?: Readonly<Record<string, string>>,
) => void;

/** Publishes with the attributes that Docker gives to every container event: labels, image, name. Internal instances are silent. */
export function instanceEventPublisher(events: EventBus): PublishInstanceEvent {
  return (record, action, attributes) => {
    if (record.spec.internal) return;
    events.publish({
      type: "container",
      action,
      actorId: record.id,
      attributes: {
        ...attributes,
        ...record.spec.labels,
        ...(record.spec.image === "" ? {} : { image: record.spec.image }),
        name: record.name,
      },
    });
  };
}
