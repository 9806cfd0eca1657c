/** What a stage has come to after a step, and the image that a further step makes of it. */
import type { Clock } from "../base/clock.ts";
import type { OpContext } from "../base/op-context.ts";
import type { ConfigState } from "../dockerfile/config-instruction.ts";
import { shellOf } from "../dockerfile/config-instruction.ts";
import type { StageArgs } from "../dockerfile/build-args.ts";
import { chainId } from "../images/chain-id.ts";
import type { ImageService } from "../images/image-service.ts";
import type { HistoryEntry, ImageConfig, ImageLayer, ImageRecord, Platform } from "../schema/image.ts";

export interface StepState extends ConfigState {
  /** Undefined as long as nothing was done from scratch. */
  readonly image: ImageRecord | undefined;
  readonly platform: Platform;
  readonly args: StageArgs;
}

/** The state's root file system; "" for scratch. */
export function chainOf(state: StepState): string {
  return chainId(state.image?.config.rootfs.diff_ids ?? []);
}

/** The environment that the image has so far. */
export function envOf(state: StepState): readonly string[] {
  return state.config.Env ?? [];
}

/**
 * Everything about the state that a further step's result depends on. Not times, so that a step repeated with the same
 * outcome leads back into the cache; but the history, which the result inherits.
 */
export function stateKey(state: StepState): unknown {
  return {
    layers: state.image?.config.rootfs.diff_ids ?? [],
    history: (state.image?.config.history ?? []).map((entry) => entry.created_by ?? ""),
    config: state.config,
    author: state.author,
    platform: state.platform,
  };
}

/** History's text for a step that ran nothing: `/bin/sh -c #(nop)  CMD ["x"]` (COPY, ADD and WORKDIR have one space less). */
export function nopComment(state: StepState, comment: string, spaces: 1 | 2): string {
  return [...shellOf(state.config), `#(nop)${" ".repeat(spaces)}${comment}`].join(" ");
}

/** The intermediate image after a step: the state's own configuration, one more entry in history, perhaps one more layer. */
export async function createStepImage(
  ctx: OpContext,
  parts: { readonly images: ImageService; readonly clock: Clock },
  state: StepState,
  step: { readonly createdBy: string; readonly layer: ImageLayer | undefined },
): Promise<StepState & { readonly image: ImageRecord }> {
  const created = new Date(parts.clock.now()).toISOString();
  const before = state.image?.config;
  const entry: HistoryEntry = {
    created,
    created_by: step.createdBy,
    ...(state.author === "" ? {} : { author: state.author }),
    ...(step.layer === undefined ? { empty_layer: true } : {}),
  };
  const layers = [...(state.image?.layers ?? []), ...(step.layer === undefined ? [] : [step.layer])];
  const config: ImageConfig = {
    created,
    ...(state.author === "" ? {} : { author: state.author }),
    ...state.platform,
    config: state.config,
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: [...(before?.history ?? []), entry],
  };
  const image = await parts.images.create(ctx, {
    config,
    layers,
    intermediate: true,
    ...(state.image === undefined ? {} : { parentId: state.image.id }),
  });
  return { ...state, image };
}
