import type { ImageRecord } from "../schema/image.ts";
import type { EventBus } from "../state/events.ts";
import { familiarName, formatFamiliar, type Reference } from "./reference.ts";

/** Publishes what happens to images, with the actors and attributes of Docker's events. */
export class ImageEvents {
  readonly #bus: EventBus;

  constructor(bus: EventBus) {
    this.#bus = bus;
  }

  /** An image came from or went to a registry: the actor is its name. */
  transferred(action: "pull" | "push", reference: Reference, image: ImageRecord): void {
    this.#publish(action, formatFamiliar(reference), familiarName(reference), image);
  }

  tagged(image: ImageRecord, reference: Reference): void {
    this.#publish("tag", image.id, formatFamiliar(reference), image);
  }

  changed(action: "untag" | "delete" | "load" | "save" | "import" | "create", image: ImageRecord): void {
    this.#publish(action, image.id, image.id, image);
  }

  #publish(action: string, actorId: string, name: string, image: ImageRecord): void {
    this.#bus.publish({
      type: "image",
      action,
      actorId,
      attributes: { ...image.config.config?.Labels, name },
    });
  }
}
