import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import type { Static } from "typebox";
import { messageOf } from "../../../base/errors.ts";
import type { ProgressSink } from "../../../base/progress.ts";
import { CreateImageQuery, LoadImagesQuery, PushImageQuery, SaveImagesQuery } from "../../../schema/docker/image.ts";
import { platformOf } from "../codecs/create-container.ts";
import { platformParameter } from "../codecs/platform.ts";
import { decodeRegistryAuth } from "../codecs/registry-auth.ts";
import { repositoryReference } from "../codecs/repository-reference.ts";
import { apiErrors } from "../errors.ts";
import { type Call, type Route, route, streamed } from "../route.ts";
import { streamProgress } from "../streams/json-stream.ts";
import { sendStream } from "../streams/send-stream.ts";

export const imageTransferRoutes: readonly Route[] = [
  route({
    method: "POST",
    path: "/images/create",
    summary: "Pull an image, or import one from a root file system",
    query: CreateImageQuery,
    handle: async (call) => {
      await (call.query.fromImage === "" ? importImage(call) : pullImage(call));
      return streamed;
    },
  }),
  route({
    method: "POST",
    path: "/images/{name}/push",
    summary: "Push an image to its registry",
    query: PushImageQuery,
    handle: async (call) => {
      const { backend, ctx, name, query, request } = call;
      if (query.platform !== "") {
        throw apiErrors.API_UNSUPPORTED({ what: "pushing one platform of an image", hint: "an image has one" });
      }
      const auth = decodeRegistryAuth(request.headers["x-registry-auth"]);
      const reference = repositoryReference(name, query.tag);
      await streamProgress(call, (progress) =>
        backend.images.push(
          ctx,
          { reference, ...everyTag(reference), ...(auth === undefined ? {} : { auth }) },
          progress,
        ),
      );
      return streamed;
    },
  }),
  route({
    method: "GET",
    path: "/images/get",
    summary: "Images as an archive",
    query: SaveImagesQuery,
    handle: (call) => save(call, call.query.names),
  }),
  route({
    method: "GET",
    path: "/images/{name}/get",
    summary: "An image as an archive",
    query: SaveImagesQuery,
    handle: (call) => save(call, [call.name]),
  }),
  route({
    method: "POST",
    path: "/images/load",
    summary: "Load an archive of images",
    query: LoadImagesQuery,
    handle: async (call) => {
      const { backend, ctx, query, request } = call;
      const platform = platformParameter(query.platform);
      await streamProgress(call, async (progress, stream) => {
        // Docker tells even an archive that is none in the stream, and its clients look for errors there only.
        stream.start();
        const quiet: ProgressSink = (event) => (event.stream === undefined ? undefined : progress(event));
        await backend.images.load(ctx, request.raw, query.quiet ? quiet : progress, platform);
      });
      return streamed;
    },
  }),
];

async function pullImage(call: Call<Static<typeof CreateImageQuery>>): Promise<void> {
  const { backend, ctx, query, request, version } = call;
  const reference = repositoryReference(query.fromImage, query.tag);
  if (reference === "scratch" || reference.startsWith("scratch:")) {
    throw apiErrors.API_BAD_REQUEST({ message: "'scratch' is a reserved name" });
  }
  const auth = decodeRegistryAuth(request.headers["x-registry-auth"]);
  const platform = version.atLeast(32) ? platformOf(query.platform, backend) : undefined;
  const pull = {
    reference,
    ...everyTag(reference),
    ...(platform === undefined ? {} : { platform }),
    ...(auth === undefined ? {} : { auth }),
  };
  await streamProgress(call, async (progress) => {
    await backend.images.pull(ctx, pull, progress);
  });
}

/** A name alone means all of its tags: clients that want "latest" say so. */
function everyTag(reference: string): { readonly allTags?: true } {
  return /(:[^/]*|@sha256:[0-9a-f]+)$/.test(reference) ? {} : { allTags: true };
}

async function importImage(call: Call<Static<typeof CreateImageQuery>>): Promise<void> {
  const { backend, ctx, query, request } = call;
  if (query.fromSrc === "") {
    throw apiErrors.API_BAD_REQUEST({ message: "give fromImage to pull an image, or fromSrc to import one" });
  }
  const platform = platformOf(query.platform, backend);
  await streamProgress(call, async (progress) => {
    const tar = query.fromSrc === "-" ? request.raw : await download(query.fromSrc, progress, ctx.signal);
    const image = await backend.images.import(
      ctx,
      {
        tar,
        message: query.message === "" ? `Imported from ${query.fromSrc}` : query.message,
        changes: query.changes,
        ...(query.repo === "" ? {} : { reference: repositoryReference(query.repo, query.tag) }),
        ...(platform === undefined ? {} : { platform }),
      },
      progress,
    );
    progress({ status: image.id });
  });
}

/** The body of a URL; without a scheme it is http, as in Docker. */
async function download(source: string, progress: ProgressSink, signal: AbortSignal): Promise<Readable> {
  const url = source.includes("://") ? source : `http://${source}`;
  const fail = (reason: string, cause?: unknown) =>
    apiErrors.API_BAD_REQUEST({ message: `failed to download ${url}: ${reason}` }, { cause });
  if (!/^https?:\/\//.test(url)) throw fail("only http and https can be imported from");
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw fail(messageOf(cause), error);
  }
  if (!response.ok || response.body === null) throw fail(`the server answered ${response.status}`);
  progress({ status: `Downloading from ${url}` });
  // The two declarations of a web stream, the DOM's and Node's, are the same object.
  return Readable.fromWeb(response.body as ReadableStream<Uint8Array>);
}

async function save(call: Call<Static<typeof SaveImagesQuery>>, names: readonly string[]) {
  const { backend, ctx, query } = call;
  if (names.length === 0) throw apiErrors.API_BAD_REQUEST({ message: "no images were named" });
  const tar = await backend.images.save(ctx, names, platformParameter(query.platform));
  await sendStream(call, tar, "application/x-tar");
  return streamed;
}
