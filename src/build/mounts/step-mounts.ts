/** The mounts of one RUN: planned before the step is looked up in the cache, made when it runs, gone when it has ended. */
import { posix } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import { Reverter } from "../../base/reverter.ts";
import { locate } from "../../dockerfile/errors.ts";
import type { RunInstruction } from "../../dockerfile/instruction.ts";
import { parseMount, type RunMount } from "../../dockerfile/run-mount.ts";
import type { MountSpec } from "../../schema/instance.ts";
import { buildErrors } from "../errors.ts";
import type { StepInput } from "../execute/step-plan.ts";
import type { StepState } from "../step-state.ts";
import { planBind } from "./bind-mount.ts";
import type { CacheDirectories, CacheLease } from "./cache-directories.ts";
import { planCache } from "./cache-mount.ts";
import type { PlannedMount, ReadyMount } from "./planned-mount.ts";
import { planSecret } from "./secret-mount.ts";
import { planSsh } from "./ssh-mount.ts";

/** What a step's container gets, until it is disposed. */
export interface StepMounts extends AsyncDisposable {
  readonly mounts: readonly MountSpec[];
  readonly env: readonly string[];
  readonly secretEnv: readonly string[];
}

/** Finds what is mounted. Fails for what is missing, before anything runs. */
export async function planMounts(ctx: OpContext, input: StepInput<RunInstruction>): Promise<readonly PlannedMount[]> {
  const { instruction, state } = input;
  const mounts = locate(instruction.position, () => instruction.mounts.map(parseMount));
  const planned: PlannedMount[] = [];
  let agents = 0;
  for (const mount of mounts) {
    const place = mount.type === "ssh" && mount.target === "" ? `/run/buildkit/ssh_agent.${agents}` : mount.target;
    if (mount.type === "ssh") agents++;
    const isVariable = mount.type === "secret" && place === "";
    planned.push(await planMount(ctx, input, mount, isVariable ? "" : absoluteTarget(state, place)));
  }
  refuseSameTarget(planned);
  return planned;
}

async function planMount(
  ctx: OpContext,
  input: StepInput<RunInstruction>,
  mount: RunMount,
  target: string,
): Promise<PlannedMount> {
  switch (mount.type) {
    case "bind":
      return await planBind(ctx, input, mount, target);
    case "cache":
      return await planCache(ctx, input, mount, target);
    case "tmpfs":
      return planTmpfs(mount, target);
    case "secret":
      return planSecret(input.build, mount, target);
    case "ssh":
      return planSsh(input.build, mount, target);
  }
}

function planTmpfs({ readOnly, sizeBytes }: RunMount & { readonly type: "tmpfs" }, target: string): PlannedMount {
  // Build steps run programs from wherever they put them.
  const options = ["exec", ...(sizeBytes === 0 ? [] : [`size=${sizeBytes}`]), ...(readOnly ? ["ro"] : [])];
  return {
    target,
    comment: `--mount=type=tmpfs,${[`target=${target}`, ...options.slice(1)].join(",")}`,
    open: async () => ({ mounts: [{ type: "tmpfs", target, options }] }),
  };
}

/** Makes what was planned. When it throws, nothing of it is left. */
export async function openMounts(
  ctx: OpContext,
  caches: CacheDirectories,
  planned: readonly PlannedMount[],
): Promise<StepMounts> {
  const closing = new Reverter(ctx);
  try {
    const lease = await caches.lease(
      ctx,
      planned.flatMap(({ cache }) => cache ?? []),
    );
    closing.add("let the cache directories go", () => lease[Symbol.dispose]());
    const ready: ReadyMount[] = [];
    for (const mount of planned) ready.push(await mount.open(ctx, closing, leased(lease, mount)));
    return {
      mounts: ready.flatMap(({ mounts = [] }) => mounts),
      env: ready.flatMap(({ env = [] }) => env),
      secretEnv: ready.flatMap(({ secretEnv = [] }) => secretEnv),
      [Symbol.asyncDispose]: () => closing[Symbol.asyncDispose](),
    };
  } catch (error) {
    await closing[Symbol.asyncDispose]();
    throw error;
  }
}

function leased({ directories }: CacheLease, { cache }: PlannedMount): string {
  return cache === undefined ? "" : (directories.get(cache.key) ?? "");
}

/** Relative to the working directory. */
function absoluteTarget({ config }: StepState, target: string): string {
  const absolute = posix.resolve("/", config.WorkingDir ?? "", target);
  if (absolute === "/")
    throw buildErrors.BUILD_MOUNT_INVALID({ reason: `invalid mount target ${JSON.stringify(target)}` });
  return absolute;
}

function refuseSameTarget(planned: readonly PlannedMount[]): void {
  const targets = planned.map(({ target }) => target).filter((target) => target !== "");
  const twice = targets.find((target, index) => targets.indexOf(target) < index);
  if (twice !== undefined) {
    throw buildErrors.BUILD_MOUNT_INVALID({ reason: `two mounts of one RUN have the target ${JSON.stringify(twice)}` });
  }
}
