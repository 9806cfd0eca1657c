import { Type } from "typebox";
import { PortProtocol, PortSpec, PublishedPort } from "../network.ts";
import { param, strings, text } from "./fields.ts";

export const CapacityQuery = Type.Object({
  verbose: param.flag("Also what each holder uses, and what the data root takes"),
});

/** Body of `POST /berth/v1/containers/{id}/ports`. */
export const PublishBody = Type.Object({
  ports: Type.Array(PortSpec, { minItems: 1, description: "Ports to publish, all or none" }),
});

export const UnpublishQuery = Type.Object({
  containerPort: Type.Integer({ minimum: 1, maximum: 65535, description: "Port inside" }),
  protocol: Type.Optional(Type.Union(PortProtocol.anyOf, { description: "tcp when left out" })),
  hostIp: Type.Optional(Type.String({ description: "Only where it is published on this address" })),
  hostPort: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: "Only this port of the host" })),
});

/** What is published now; empty while it does not run. */
export const PublishedPorts = Type.Object({ ports: Type.Array(PublishedPort) });

/** Body of Berth's own `POST /berth/images/bootstrap`. */
export const BootstrapBody = Type.Object({
  reference: Type.String({ minLength: 1, description: '"debian:bookworm": distribution and release' }),
  as: text("Tag it as this instead"),
  include: strings("Extra packages"),
  mirror: text("Mirror to use instead of the host's"),
});
