/** Reading of answers whose shape is promised by a schema, by somebody who may not keep promises. */
import { isJsonObject, type JsonObject } from "./json-lines.ts";

/** A reply's shape is not what the schema says; the message says where. */
export class ReplyShapeError extends Error {}

export function objectOf(value: unknown, where: string): JsonObject {
  if (!isJsonObject(value)) throw new ReplyShapeError(`${where} is no object`);
  return value;
}

export function listOf(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ReplyShapeError(`${where} is no list`);
  return value;
}

export function numberOf(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new ReplyShapeError(`${where} is no number`);
  return value;
}

export function stringOf(value: unknown, where: string): string {
  if (typeof value !== "string") throw new ReplyShapeError(`${where} is no string`);
  return value;
}

export function booleanOf(value: unknown, where: string): boolean {
  if (typeof value !== "boolean") throw new ReplyShapeError(`${where} is no boolean`);
  return value;
}
