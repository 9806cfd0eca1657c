/**
 * Building blocks of the Docker API's request schemas. Go's decoder takes null for anything, so every member of a body is
 * nullable; members that Docker does not know are ignored, as Docker ignores them.
 */
import { type TSchema, Type } from "typebox";

/** An optional member of a body, which may also be null. */
export function field<T extends TSchema>(schema: T, description?: string) {
  return Type.Optional(Type.Union([schema, Type.Null()], description === undefined ? {} : { description }));
}

export const text = (description?: string) => field(Type.String(), description);
export const flag = (description?: string) => field(Type.Boolean(), description);
export const integer = (description?: string) => field(Type.Integer(), description);
export const strings = (description?: string) => field(Type.Array(Type.String()), description);
export const stringMap = (description?: string) => field(Type.Record(Type.String(), Type.String()), description);
/** `{ "80/tcp": {} }`: a set in Go's spelling. */
export const keySet = (description?: string) => field(Type.Record(Type.String(), Type.Unknown()), description);

/**
 * Parameters of a query, decoded as Docker does: see `src/api/docker/codecs/query.ts`, which goes by the schema's type.
 * A boolean is false for "", 0, no, false and none, else true; an absent one takes its default (false).
 */
export const param = {
  flag: (description: string, fallback = false) => Type.Boolean({ description, default: fallback }),
  text: (description: string) => Type.String({ description, default: "" }),
  integer: (description: string) => Type.Optional(Type.Integer({ description })),
  /** May be given several times. */
  texts: (description: string) => Type.Array(Type.String(), { description, default: [] }),
  /** JSON: `{"name": ["value"]}`, or the older `{"name": {"value": true}}`. `names` are those that are accepted. */
  filters: (...names: readonly string[]) =>
    Type.Record(Type.String(), Type.Array(Type.String()), {
      description: `JSON filters: ${names.join(", ")}`,
      filters: names,
      default: {},
    }),
  /** JSON of any shape that `schema` describes. */
  json: <T extends TSchema>(schema: T, description: string) =>
    Type.Optional(Type.Unsafe<Type.Static<T>>({ ...schema, description, json: true })),
} as const;
