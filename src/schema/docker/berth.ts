import { Type } from "typebox";
import { param, strings, text } from "./fields.ts";

export const CapacityQuery = Type.Object({
  verbose: param.flag("Also what each holder uses, and what the data root takes"),
});

/** Body of Berth's own `POST /berth/images/bootstrap`. */
export const BootstrapBody = Type.Object({
  reference: Type.String({ minLength: 1, description: '"debian:bookworm": distribution and release' }),
  as: text("Tag it as this instead"),
  include: strings("Extra packages"),
  mirror: text("Mirror to use instead of the host's"),
});
