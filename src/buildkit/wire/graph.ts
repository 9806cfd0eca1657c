/** `pb`: build graphs (LLB). Only what one of a single source has. */
import { bytes, integer, list, listOf, map, message, nested, text } from "./message.ts";

const Input = message({ digest: [1, text], index: [2, integer] });

export const Op = message({ inputs: [1, listOf(Input)], source: [3, nested(message({ identifier: [1, text] }))] });

/** `metadata` is by an operation's digest, and there for each that is the result. */
export const Definition = message({ def: [1, list(bytes)], metadata: [2, map(bytes)] });
