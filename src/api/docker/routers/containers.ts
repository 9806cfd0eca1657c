import { BerthError, isBerthError } from "../../../base/errors.ts";
import {
  CommitQuery,
  CreateContainerBody,
  CreateContainerQuery,
  InspectContainerQuery,
  KillQuery,
  ListContainersQuery,
  PruneContainersQuery,
  RemoveContainerQuery,
  RenameQuery,
  ResizeQuery,
  StartQuery,
  StopQuery,
  TopQuery,
  UpdateContainerBody,
  WaitQuery,
} from "../../../schema/docker/container.ts";
import { DockerContainerConfig } from "../../../schema/docker/container.ts";
import type { OpContext } from "../../../base/op-context.ts";
import type { InstanceRecord } from "../../../schema/instance.ts";
import type { WaitCondition } from "../../../instances/instance-service.ts";
import type { TerminalSize } from "../../../instances/driver.ts";
import type { ApiVersion } from "../api-version.ts";
import type { DockerBackend } from "../backend.ts";
import { containerFilter } from "../codecs/container-filters.ts";
import { commitConfig } from "../codecs/commit-config.ts";
import { instanceRequest, restartPolicy, ulimits } from "../codecs/create-container.ts";
import { imageNameNow } from "../codecs/image-json.ts";
import { inspectContainer, type Sizes } from "../codecs/inspect-container.ts";
import { summaryWriter } from "../codecs/list-container.ts";
import { repositoryReference } from "../codecs/repository-reference.ts";
import { resourceChanges } from "../codecs/resources.ts";
import { refuseUnsupported } from "../codecs/unsupported.ts";
import { apiErrors } from "../errors.ts";
import { type Call, created, done, noContent, notModified, ok, okRows, type Route, route, streamed } from "../route.ts";
import { plainHeaders } from "../streams/send-stream.ts";
import { unlessGone } from "./unless-gone.ts";

export const containerRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/containers/json",
    summary: "List containers",
    query: ListContainersQuery,
    handle: listContainers,
  }),
  route({
    method: "POST",
    path: "/containers/create",
    summary: "Create a container",
    query: CreateContainerQuery,
    body: CreateContainerBody,
    outlivesClient: true,
    handle: async ({ backend, ctx, query, body }) => {
      try {
        const { record, warnings } = await backend.instances.create(ctx, instanceRequest(body, query, backend));
        return created({ Id: record.id, Warnings: warnings });
      } catch (error) {
        throw onlyImagesMissing(error);
      }
    },
  }),
  route({
    method: "GET",
    path: "/containers/{id}/json",
    summary: "Inspect a container",
    query: InspectContainerQuery,
    handle: async ({ backend, ctx, name, query }) => {
      const record = backend.instances.resolve(name);
      const sizes = query.size ? await backend.instances.size(ctx, record.id) : undefined;
      return ok(inspectContainer(record, backend, sizes));
    },
  }),
  route({
    method: "GET",
    path: "/containers/{id}/top",
    summary: "List a container's processes",
    query: TopQuery,
    handle: async ({ backend, ctx, name, query }) => {
      const { titles, rows } = await backend.instances.processes(ctx, name, query.ps_args || "-ef");
      return ok({ Processes: rows, Titles: titles });
    },
  }),
  route({
    method: "GET",
    path: "/containers/{id}/changes",
    summary: "What changed in a container's file system",
    handle: async ({ backend, ctx, name }) => {
      const changes = await backend.instances.changes(ctx, name);
      const kinds = { modified: 0, added: 1, deleted: 2 } as const;
      return ok(changes.length === 0 ? null : changes.map(({ kind, path }) => ({ Path: path, Kind: kinds[kind] })));
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/start",
    summary: "Start a container",
    query: StartQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      if (query.checkpoint !== "") throw apiErrors.API_UNSUPPORTED({ what: "starting from a checkpoint" });
      const { started } = await backend.instances.start(ctx, name);
      return started ? noContent : notModified;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/stop",
    summary: "Stop a container: its stop signal, then SIGKILL",
    query: StopQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query, version }) => {
      const { stopped } = await backend.instances.stop(ctx, name, stopOptions(query, version));
      return stopped ? noContent : notModified;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/restart",
    summary: "Stop and start a container",
    query: StopQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query, version }) => {
      await backend.instances.restart(ctx, name, stopOptions(query, version));
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/kill",
    summary: "Send a signal to a container",
    query: KillQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.instances.kill(ctx, name, query.signal || "SIGKILL");
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/pause",
    summary: "Freeze a container",
    outlivesClient: true,
    handle: async ({ backend, ctx, name }) => {
      await backend.instances.pause(ctx, name);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/unpause",
    summary: "Thaw a container",
    outlivesClient: true,
    handle: async ({ backend, ctx, name }) => {
      await backend.instances.resume(ctx, name);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/rename",
    summary: "Rename a container",
    query: RenameQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.instances.rename(ctx, name, query.name.replace(/^\//, ""));
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/update",
    summary: "Change a container's limits and restart policy",
    body: UpdateContainerBody,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => {
      refuseUnsupported(body, {}, backend.system.facts);
      for (const field of ["Devices", "DeviceCgroupRules"] as const) {
        if ((body[field] ?? []).length > 0) throw apiErrors.API_UNSUPPORTED({ what: `updating ${field}` });
      }
      const policy = body.RestartPolicy;
      const warnings = await backend.instances.update(ctx, name, {
        resources: resourceChanges(body),
        ulimits: ulimits(body),
        ...(policy?.Name ? { restartPolicy: restartPolicy(policy) } : {}),
      });
      return ok({ Warnings: warnings });
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/resize",
    summary: "Resize a container's terminal",
    query: ResizeQuery,
    handle: async ({ backend, ctx, name, query }) => {
      await backend.instances.resize(ctx, name, terminalSize(query));
      return done;
    },
  }),
  route({
    method: "POST",
    path: "/containers/{id}/wait",
    summary: "Wait for a container to end; the answer's head comes at once",
    query: WaitQuery,
    handle: waitForContainer,
  }),
  route({
    method: "DELETE",
    path: "/containers/{id}",
    summary: "Remove a container",
    query: RemoveContainerQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, query }) => {
      if (query.link) {
        await removeLink(backend, ctx, name);
        return noContent;
      }
      await backend.instances.remove(ctx, name, { force: query.force, volumes: query.v, filesLater: true });
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/containers/prune",
    summary: "Remove all stopped containers",
    since: 25,
    query: PruneContainersQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, query }) => {
      const { deleted, reclaimedBytes } = await backend.instances.prune(ctx, query.filters);
      return ok({ ContainersDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimedBytes });
    },
  }),
  route({
    method: "POST",
    path: "/commit",
    summary: "Make an image of a container's changes",
    query: CommitQuery,
    body: DockerContainerConfig,
    bodyOptional: true,
    outlivesClient: true,
    handle: async ({ backend, ctx, query, body }) => {
      const reference = query.repo === "" ? undefined : repositoryReference(query.repo, query.tag);
      const config = commitConfig(body);
      const image = await backend.instances.commit(ctx, query.container, {
        comment: query.comment,
        author: query.author,
        pause: query.pause,
        changes: query.changes,
        ...(reference === undefined ? {} : { reference }),
        ...(config === undefined ? {} : { config }),
      });
      return created({ Id: image.id });
    },
  }),
];

/** "container/alias", the name that a link on the default bridge has in Docker. */
async function removeLink({ instances }: DockerBackend, ctx: OpContext, name: string): Promise<void> {
  const [container = "", alias] = name.replace(/^\//, "").split("/");
  if (alias === undefined) {
    instances.resolve(container);
    throw apiErrors.API_LINK_NAME({});
  }
  await instances.unlink(ctx, container, alias);
}

/** To a client 404 means that the image is missing, and that it should pull it: whatever else was not found is a bad request. */
function onlyImagesMissing(error: unknown): unknown {
  const aboutImage = isBerthError(error, "IMAGE_NOT_FOUND", "IMAGE_PLATFORM_MISMATCH", "PLATFORM_MISMATCH");
  if (aboutImage || !isBerthError(error) || error.status !== 404) return error;
  return new BerthError(error.code, 400, error.message, error.hint, { cause: error });
}

async function listContainers({ backend, ctx, query }: Call<ListQuery>) {
  const filter = containerFilter(query.filters, backend);
  const limit = query.limit ?? 0;
  const all = query.all || limit > 0 || filter.includesStopped;
  const records: InstanceRecord[] = [];
  for (const record of backend.instances.list()) {
    if (!all && !isRunning(record)) continue;
    if (!filter.matches(record)) continue;
    records.push(record);
    if (limit > 0 && records.length === limit) break;
  }
  const sized: { readonly record: InstanceRecord; readonly sizes?: Sizes }[] = [];
  for (const record of records) {
    const sizes = query.size ? await unlessGone(backend.instances.size(ctx, record.id)) : undefined;
    if (sizes !== undefined) sized.push({ record, sizes });
    else if (!query.size) sized.push({ record });
  }
  return okRows(summaries(sized, backend));
}

function* summaries(
  listed: Iterable<{ readonly record: InstanceRecord; readonly sizes?: Sizes }>,
  backend: DockerBackend,
): Generator<string> {
  const imageOf = imageNames(backend);
  const write = summaryWriter(backend);
  for (const { record, sizes } of listed) yield write(record, imageOf(record), sizes);
}

/** What to call the image of each of many records: few images, each looked up once. */
function imageNames(backend: DockerBackend): (record: InstanceRecord) => string {
  const idByTag = imageIdsByTag(backend);
  const names = new Map<string, string>();
  return ({ imageId, spec: { image } }) => {
    const key = `${imageId} ${image}`;
    const known = names.get(key);
    if (known !== undefined) return known;
    const name = imageNameNow(image, imageId, idByTag);
    names.set(key, name);
    return name;
  };
}

type ListQuery = {
  readonly all: boolean;
  readonly limit?: number;
  readonly size: boolean;
  readonly filters: Readonly<Record<string, readonly string[]>>;
};

export function isRunning({ state }: InstanceRecord): boolean {
  return state.status === "running" || state.status === "paused" || state.status === "restarting";
}

export function imageIdsByTag({ images }: Pick<DockerBackend, "images">): ReadonlyMap<string, string> {
  return new Map(images.list().flatMap((image) => image.tags.map((tag) => [tag, image.id] as const)));
}

/** Rows and columns of a resize request. */
export function terminalSize(query: { readonly h: string; readonly w: string }): TerminalSize {
  return { rows: dimension("height", query.h), columns: dimension("width", query.w) };
}

function dimension(what: string, text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value <= 65_535) return value;
  throw apiErrors.API_BAD_REQUEST({ message: `invalid resize ${what} ${JSON.stringify(text)}: invalid syntax` });
}

function stopOptions(query: { readonly signal: string; readonly t?: number }, version: ApiVersion) {
  return {
    // Before 1.42 the parameter did not exist.
    ...(query.signal !== "" && version.atLeast(42) ? { signal: query.signal } : {}),
    ...(query.t === undefined ? {} : { timeoutSeconds: query.t }),
  };
}

/** `docker run` starts the container when it has seen this answer's head, and may then not miss the end. */
async function waitForContainer(call: Call<{ readonly condition: string }>) {
  const { backend, ctx, name, reply, version } = call;
  const condition = version.atLeast(30) ? waitCondition(call.query.condition) : "not-running";
  const { done: ended } = await backend.instances.wait(ctx, name, condition);
  reply.hijack();
  if (version.atLeast(30)) {
    reply.raw.writeHead(200, { ...plainHeaders(call), "Content-Type": "application/json" });
    reply.raw.flushHeaders();
  }
  try {
    const { exitCode, error } = await ended;
    const result = { StatusCode: exitCode, ...(error === "" ? {} : { Error: { Message: error } }) };
    reply.raw.end(`${JSON.stringify(result)}\n`);
  } catch (error) {
    // The head is out: a cut connection is the only way left to say that there is no result.
    reply.raw.destroy();
    if (!ctx.signal.aborted) throw error;
  }
  return streamed;
}

function waitCondition(text: string): WaitCondition {
  switch (text) {
    case "":
    case "not-running":
      return "not-running";
    case "next-exit":
    case "removed":
      return text;
    default:
      throw apiErrors.API_BAD_REQUEST({ message: `invalid condition: ${JSON.stringify(text)}` });
  }
}
