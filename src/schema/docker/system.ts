import { Type } from "typebox";
import { param, text } from "./fields.ts";

export const EventsQuery = Type.Object({
  since: param.text("Unix time, with a fraction: also what happened since then"),
  until: param.text("Unix time, with a fraction: end then"),
  filters: param.filters(
    "builder",
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
  ),
});

export const DiskUsageQuery = Type.Object({
  type: param.texts("container, image, volume or build-cache; all by default"),
});

export const AuthBody = Type.Object({
  username: text(),
  password: text(),
  auth: text(),
  email: text(),
  serveraddress: text(),
  identitytoken: text(),
  registrytoken: text(),
});
