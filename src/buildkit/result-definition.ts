/**
 * A build's result as the graph (LLB) that clients want of one: a single source, which names the image. They know only to hand it
 * on, to builds that take the result as a context (bake's `target:`, Compose's `service:`); any other graph is refused here.
 */
import { createHash } from "node:crypto";
import { buildKitErrors } from "./errors.ts";
import { Definition, Op } from "./wire/graph.ts";
import type { Decoded } from "./wire/message.ts";

const scheme = "berth-image://";

export function definitionOf(imageId: string): Decoded<typeof Definition> {
  const source = Op.encode({ source: { identifier: `${scheme}${imageId}` } });
  const digest = `sha256:${createHash("sha256").update(source).digest("hex")}`;
  // The last one has no work of its own: it says which of the others is the result.
  const end = Op.encode({ inputs: [{ digest, index: 0 }] });
  return { def: [source, end], metadata: { [digest]: new Uint8Array() } };
}

/** The image's id. `name` is the input's, for the error. */
export function imageOfDefinition(definition: Uint8Array, name: string): string {
  const ops = Definition.decode(definition).def.map((bytes) => Op.decode(bytes));
  const [identifier = "", ...others] = ops.flatMap(({ source }) => source?.identifier ?? []);
  const id = identifier.startsWith(scheme) ? identifier.slice(scheme.length) : "";
  if (ops.length === 2 && others.length === 0 && /^sha256:[0-9a-f]{64}$/.test(id)) return id;
  throw buildKitErrors.BUILDKIT_UNSUPPORTED({ what: `a build graph (LLB) as the input ${name}` });
}
