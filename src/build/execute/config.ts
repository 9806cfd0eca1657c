import { applyConfigInstruction } from "../../dockerfile/config-instruction.ts";
import type { ArgInstruction, ConfigInstruction } from "../../dockerfile/instruction.ts";
import { changeRoot } from "../step-layer.ts";
import { chainOf, nopComment } from "../step-state.ts";
import type { StepInput, StepPlan } from "./step-plan.ts";

/** ENV, LABEL, CMD, …: a changed configuration. WORKDIR also makes its directory. */
export function planConfig({ build, instruction, state, output }: StepInput<ConfigInstruction>): StepPlan {
  const change = applyConfigInstruction(state, instruction);
  if (change.note !== undefined) output.line(change.note);
  const next = { ...state, config: change.config, cmdSet: change.cmdSet, author: change.author };
  if (instruction.kind !== "workdir") return { next, createdBy: nopComment(next, change.comment, 2) };
  const directory = change.config.WorkingDir ?? "/";
  return {
    next,
    createdBy: nopComment(next, change.comment, 1),
    makeLayer: (ctx) =>
      changeRoot(ctx, build.parts, { id: build.nextSnapshotId(), parent: chainOf(state) }, (root) =>
        root.makeDirectories(ctx, directory, { mode: 0o755, uid: 0, gid: 0 }),
      ),
  };
}

/** ARG: known to what follows in this stage. */
export function planArg({ instruction, state }: StepInput<ArgInstruction>): StepPlan {
  const args = instruction.args.reduce((scope, { name, value }) => scope.declare(name, value), state.args);
  const words = instruction.args.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`));
  return { next: { ...state, args }, createdBy: nopComment(state, `ARG ${words.join(" ")}`, 2) };
}
