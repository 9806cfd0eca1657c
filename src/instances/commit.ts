import { isBerthError, messageOf } from "../base/errors.ts";
import { background, type OpContext } from "../base/op-context.ts";
import { applyChanges } from "../dockerfile/apply-changes.ts";
import type { ImageConfig, ImageRecord, ImageRunConfig } from "../schema/image.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import type { CommittedLayer, LayerSink } from "../snapshots/snapshotter.ts";
import { instanceErrors } from "./errors.ts";
import { type Inside, openInside } from "./files/inside.ts";
import type { CommitRequest } from "./instance-service.ts";
import { mergeHealthcheck } from "./merge-image.ts";
import { beginOperation } from "./open-operations.ts";
import { pauseInstance, resumeInstance } from "./pause.ts";
import type { Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";

/** See {@link InstanceService.commit}: what the instance changed becomes a layer on its image, its spec the configuration. */
export async function commitInstance(
  parts: Parts,
  ctx: OpContext,
  nameOrId: string,
  request: CommitRequest,
): Promise<ImageRecord> {
  const record = resolveInstance(parts.records, nameOrId);
  if (record.state.status === "removing" || record.state.status === "dead") {
    throw instanceErrors.MARKED_FOR_REMOVAL({});
  }
  const parent = parentImage(parts, record);
  const ownConfig = runConfigOf(record);
  const config = mergeRunConfig(applyChanges(request.config ?? ownConfig, request.changes), ownConfig);
  await using inside = await openInside(parts, ctx, record, "commit");
  const image =
    inside === undefined
      ? await whilePaused(parts, ctx, record.id, request.pause, () =>
          commitLayer(parts, ctx, record, parent, config, request, (sink) =>
            parts.snapshotter.commit(ctx, record.id, sink),
          ),
        )
      : await commitLayer(parts, ctx, record, parent, config, request, (sink) =>
          importLayer(parts, ctx, record, inside, request.pause, sink),
        );
  parts.publish(record, "commit", {
    comment: request.comment,
    imageID: image.id,
    imageRef: request.reference ?? "",
  });
  return image;
}

async function commitLayer(
  parts: Parts,
  ctx: OpContext,
  record: InstanceRecord,
  parent: ImageRecord | undefined,
  config: ImageRunConfig,
  request: CommitRequest,
  pack: (sink: LayerSink) => Promise<CommittedLayer>,
): Promise<ImageRecord> {
  await using sink = await parts.images.layerSink(ctx);
  const layer = await pack(sink);
  const created = new Date(parts.clock.now()).toISOString();
  const platform: Pick<ImageConfig, "architecture" | "os" | "variant"> = parent?.config ?? {
    architecture: parts.host.facts.architecture,
    os: "linux",
  };
  const { blob, diffId } = layer;
  return await parts.images.create(ctx, {
    config: {
      created,
      ...(request.author === "" ? {} : { author: request.author }),
      architecture: platform.architecture,
      ...(platform.variant === undefined ? {} : { variant: platform.variant }),
      os: platform.os,
      config,
      rootfs: { type: "layers", diff_ids: [...(parent?.config.rootfs.diff_ids ?? []), diffId] },
      history: [
        ...(parent?.config.history ?? []),
        {
          created,
          created_by: [...record.spec.process.cmd].join(" "),
          ...(request.author === "" ? {} : { author: request.author }),
          ...(request.comment === "" ? {} : { comment: request.comment }),
        },
      ],
    },
    layers: [...(parent?.layers ?? []), { blob, diffId }],
    ...(parent === undefined ? {} : { parentId: parent.id }),
    ...(request.reference === undefined ? {} : { reference: request.reference }),
  });
}

/** What a guest packs itself, which stops its processes meanwhile: it goes on also when the engine does not. */
async function importLayer(
  parts: Parts,
  ctx: OpContext,
  { chainId }: InstanceRecord,
  { driver, handle }: Inside,
  pause: boolean,
  sink: LayerSink,
): Promise<CommittedLayer> {
  const tar = await driver.packChanges(ctx, handle, { freeze: pause });
  try {
    return await parts.snapshotter.importLayer(ctx, { parent: chainId, tar, sink });
  } finally {
    tar.destroy();
  }
}

/** Undefined for an instance made from nothing. `COMMIT_WITHOUT_IMAGE` for one on layers without an image. */
function parentImage(parts: Parts, { id, imageId, chainId }: InstanceRecord): ImageRecord | undefined {
  if (imageId !== "") return parts.images.resolve(imageId);
  if (chainId !== "") throw instanceErrors.COMMIT_WITHOUT_IMAGE({ id });
  return undefined;
}

/** Does `work` while a running instance is paused. One that is not running, or paused already, needs nothing. */
async function whilePaused<T>(
  parts: Parts,
  ctx: OpContext,
  id: string,
  pause: boolean,
  work: () => Promise<T>,
): Promise<T> {
  if (!pause || parts.records.get(id)?.state.status !== "running") return await work();
  using _operation = beginOperation(parts, "instance.commit", id);
  try {
    await pauseInstance(parts, ctx, id);
  } catch (error) {
    if (isBerthError(error, "NOT_RUNNING", "TASK_NOT_RUNNING", "ALREADY_PAUSED", "RESTARTING")) return await work();
    throw error;
  }
  return await work().finally(async () => {
    try {
      await resumeAgain(parts, background(ctx.log), id);
    } catch (error) {
      // Killed, or resumed by someone else, meanwhile.
      if (!isBerthError(error, "NOT_PAUSED", "INSTANCE_NOT_FOUND")) throw error;
    }
  });
}

/** Asks twice: nobody else knows that it is to go on. */
async function resumeAgain(parts: Parts, ctx: OpContext, id: string): Promise<void> {
  try {
    await resumeInstance(parts, ctx, id);
  } catch (error) {
    if (isBerthError(error, "NOT_PAUSED", "INSTANCE_NOT_FOUND")) throw error;
    ctx.log.warn({ instance: id, error: messageOf(error) }, "it is not resumed after a commit; once more");
    await resumeInstance(parts, ctx, id);
  }
}

function runConfigOf({ spec }: InstanceRecord): ImageRunConfig {
  const { process } = spec;
  const volumes = spec.mounts.flatMap((mount) => (mount.type === "volume" && mount.anonymous ? [mount.target] : []));
  return {
    ...(process.user === "" ? {} : { User: process.user }),
    ...(spec.network.exposedPorts.length === 0 ? {} : { ExposedPorts: keys(spec.network.exposedPorts) }),
    Env: [...process.env],
    ...(process.entrypoint.length === 0 ? {} : { Entrypoint: [...process.entrypoint] }),
    Cmd: [...process.cmd],
    ...(volumes.length === 0 ? {} : { Volumes: keys(volumes) }),
    ...(process.workingDir === "" ? {} : { WorkingDir: process.workingDir }),
    ...(Object.keys(spec.labels).length === 0 ? {} : { Labels: spec.labels }),
    ...(spec.stopSignal === "" ? {} : { StopSignal: spec.stopSignal }),
    ...(spec.healthcheck === null ? {} : { Healthcheck: spec.healthcheck }),
  };
}

/** `over` where it says something, `base` elsewhere: Docker's rules for `commit`. */
function mergeRunConfig(over: ImageRunConfig, base: ImageRunConfig): ImageRunConfig {
  const env = over.Env ?? [];
  const named = new Set(env.map((variable) => variable.split("=", 1)[0]));
  const inheritsCmd = (over.Entrypoint ?? []).length === 0 && (over.Cmd ?? []).length === 0;
  const healthcheck = mergeHealthcheck(over.Healthcheck, base.Healthcheck);
  const stopSignal = firstText(over.StopSignal, base.StopSignal);
  const exposedPorts = { ...base.ExposedPorts, ...over.ExposedPorts };
  const labels = { ...base.Labels, ...over.Labels };
  const volumes = { ...base.Volumes, ...over.Volumes };
  const {
    StopSignal: _stopSignal,
    ExposedPorts: _ports,
    Labels: _labels,
    Volumes: _volumes,
    ...rest
  } = { ...base, ...over };
  return {
    ...rest,
    User: firstText(over.User, base.User),
    WorkingDir: firstText(over.WorkingDir, base.WorkingDir),
    Env: [...env, ...(base.Env ?? []).filter((variable) => !named.has(variable.split("=", 1)[0] ?? ""))],
    ...(isEmpty(exposedPorts) ? {} : { ExposedPorts: exposedPorts }),
    ...(isEmpty(labels) ? {} : { Labels: labels }),
    ...(isEmpty(volumes) ? {} : { Volumes: volumes }),
    Entrypoint: over.Entrypoint ?? base.Entrypoint ?? null,
    Cmd: inheritsCmd ? (base.Cmd ?? null) : (over.Cmd ?? null),
    ...(stopSignal === "" ? {} : { StopSignal: stopSignal }),
    ...(healthcheck === null ? {} : { Healthcheck: healthcheck }),
  };
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

function firstText(...texts: readonly (string | undefined)[]): string {
  return texts.find((text) => text !== undefined && text !== "") ?? "";
}

function keys(names: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}
