import type { NftOp } from "../kernel-ops.ts";

type ElementsOp = Extract<NftOp, { op: "nft-add-elements" | "nft-delete-elements" }>;

export function applyElements(
  op: ElementsOp,
): { readonly scripts: readonly string[]; readonly missingIsFine: boolean } | undefined {
  return elementScripts(op);
}

function elementScripts(op: ElementsOp) {
  const set = `inet ${op.table} ${op.set}`;
  if (op.op === "nft-add-elements") {
    const elements = op.elements.map(({ key, value }) => (value === undefined ? key : `${key} : ${value}`));
    return { scripts: [`add element ${set} { ${elements.join(", ")} }\n`], missingIsFine: false };
  }
  return { scripts: op.elements.map(({ key }) => `delete element ${set} { ${key} }\n`), missingIsFine: true };
}
