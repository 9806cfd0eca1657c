/** Docker decodes JSON as Go does: a field is found whatever the case of its name ("detachKeys" of docker-py is DetachKeys). */
import type { TSchema } from "typebox";

/** The parts of a JSON schema that lead to fields. */
interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly patternProperties?: Readonly<Record<string, Shape>>;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
}

const namesOfShape = new WeakMap<Shape, ReadonlyMap<string, string>>();

/** Renames fields of `value`, in place, to the names that `schema` has for them. One that is there by its own name wins. */
export function settleFieldNames(schema: TSchema, value: unknown): void {
  settle(schema, value);
}

function settle(shape: Shape, value: unknown): void {
  for (const choice of shape.anyOf ?? []) settle(choice, value);
  if (Array.isArray(value)) {
    if (shape.items !== undefined) for (const item of value) settle(shape.items, item);
    return;
  }
  if (!isRecord(value)) return;
  for (const member of Object.values(shape.patternProperties ?? {})) {
    for (const item of Object.values(value)) settle(member, item);
  }
  const { properties } = shape;
  if (properties === undefined) return;
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(properties, key)) continue;
    const name = namesOf(shape, properties).get(key.toLowerCase());
    if (name === undefined) continue;
    if (!Object.hasOwn(value, name)) value[name] = value[key];
    delete value[key];
  }
  for (const [name, member] of Object.entries(properties)) {
    if (Object.hasOwn(value, name)) settle(member, value[name]);
  }
}

function namesOf(shape: Shape, properties: Readonly<Record<string, Shape>>): ReadonlyMap<string, string> {
  let names = namesOfShape.get(shape);
  if (names === undefined) {
    names = new Map(Object.keys(properties).map((name) => [name.toLowerCase(), name]));
    namesOfShape.set(shape, names);
  }
  return names;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
