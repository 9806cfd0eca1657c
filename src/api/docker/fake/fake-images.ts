import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { OpContext } from "../../../base/op-context.ts";
import type { ProgressSink } from "../../../base/progress.ts";
import { imageErrors } from "../../../images/errors.ts";
import type {
  ImageHistoryItem,
  ImageService,
  ImportRequest,
  PullRequest,
  PushRequest,
  RemovedImage,
} from "../../../images/image-service.ts";
import { familiar, formatReference, parseReference, withDefaultTag } from "../../../images/reference.ts";
import type { ImageRecord, ImageRunConfig } from "../../../schema/image.ts";

/** Images by name only. */
export class FakeImages implements ImageService {
  readonly records = new Map<string, ImageRecord>();
  readonly pulls: PullRequest[] = [];
  readonly pushes: PushRequest[] = [];

  add(name: string, config: ImageRunConfig = {}): ImageRecord {
    const tag = formatReference(withDefaultTag(parseReference(name)));
    const hash = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
    const blob = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: hash(`layer ${tag}`), size: 10 };
    const image: ImageRecord = {
      id: hash(tag),
      manifest: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: hash(`manifest ${tag}`), size: 5 },
      layers: [{ blob, diffId: blob.digest }],
      config: {
        created: "2026-01-01T00:00:00Z",
        architecture: "amd64",
        os: "linux",
        config,
        rootfs: { type: "layers", diff_ids: [blob.digest] },
      },
      tags: [tag],
      repoDigests: [],
      size: 1234,
      intermediate: false,
    };
    this.records.set(image.id, image);
    return image;
  }

  resolve(refOrId: string): ImageRecord {
    const byId = [...this.records.values()].filter(({ id }) => id === refOrId || id.slice(7).startsWith(refOrId));
    if (refOrId.length >= 4 && byId[0] !== undefined) return byId[0];
    const tag = formatReference(withDefaultTag(parseReference(refOrId)));
    const image = [...this.records.values()].find(({ tags }) => tags.includes(tag));
    if (image === undefined) throw imageErrors.IMAGE_NOT_FOUND({ reference: familiar(tag) });
    return image;
  }

  list({ intermediate = false }: { readonly intermediate?: boolean } = {}): readonly ImageRecord[] {
    return [...this.records.values()].filter((image) => intermediate || !image.intermediate);
  }

  async pull(ctx: OpContext, request: PullRequest, progress: ProgressSink): Promise<ImageRecord> {
    this.pulls.push(request);
    if (request.reference.includes("missing")) throw imageErrors.MANIFEST_NOT_FOUND({ reference: request.reference });
    progress({ id: "latest", status: "Pulling from library/x" });
    progress({ id: "aaaaaaaaaaaa", status: "Downloading", current: 500_000, total: 1_000_000 });
    if (request.reference.includes("broken")) throw new Error("connection cut");
    if (request.reference.includes("endless")) {
      await new Promise((_resolve, reject) => ctx.signal.addEventListener("abort", () => reject(new Error("aborted"))));
    }
    progress({ id: "aaaaaaaaaaaa", status: "Pull complete" });
    return this.add(request.reference);
  }

  push(_ctx: OpContext, request: PushRequest, progress: ProgressSink): Promise<void> {
    this.pushes.push(request);
    progress({ status: "The push refers to repository [x]" });
    return Promise.resolve();
  }

  async load(_ctx: OpContext, archive: Readable, progress: ProgressSink): Promise<readonly ImageRecord[]> {
    let bytes = 0;
    for await (const chunk of archive) bytes += (chunk as Buffer).length;
    progress({ id: "x", status: "Loading layer", current: bytes, total: bytes });
    const image = this.add("loaded:latest");
    progress({ stream: "Loaded image: loaded:latest\n" });
    return [image];
  }

  save(_ctx: OpContext, refs: readonly string[]): Promise<Readable> {
    for (const ref of refs) this.resolve(ref);
    return Promise.resolve(Readable.from([Buffer.from(refs.join(","))]));
  }

  saveAs(_ctx: OpContext, imageId: string, names: readonly string[]): Promise<Readable> {
    return Promise.resolve(Readable.from([Buffer.from(`${this.resolve(imageId).id} ${names.join(",")}`)]));
  }

  async import(_ctx: OpContext, request: ImportRequest): Promise<ImageRecord> {
    for await (const _chunk of request.tar);
    return this.add(request.reference ?? "imported:latest");
  }

  bootstrap(): Promise<ImageRecord> {
    return Promise.resolve(this.add("debian:bookworm"));
  }

  tag(_ctx: OpContext, refOrId: string, newRef: string): Promise<void> {
    const image = this.resolve(refOrId);
    const tags = [...image.tags, formatReference(withDefaultTag(parseReference(newRef)))];
    this.records.set(image.id, { ...image, tags });
    return Promise.resolve();
  }

  async remove(_ctx: OpContext, refOrId: string): Promise<readonly RemovedImage[]> {
    const image = this.resolve(refOrId);
    this.records.delete(image.id);
    return [...image.tags.map((untagged) => ({ untagged })), { deleted: image.id }];
  }

  prune() {
    return Promise.resolve({ deleted: [], reclaimedBytes: 0 });
  }

  history(refOrId: string): readonly ImageHistoryItem[] {
    const image = this.resolve(refOrId);
    return [{ id: image.id, size: image.size, tags: image.tags, created: "2026-01-01T00:00:00Z" }];
  }

  keep(): Promise<Disposable> {
    return Promise.resolve({ [Symbol.dispose]: () => {} });
  }

  unpack(): Promise<string> {
    return Promise.resolve("");
  }

  create(): Promise<ImageRecord> {
    return Promise.resolve(this.add("created:latest"));
  }

  layerSink(): Promise<never> {
    return Promise.reject(new Error("the fake has no layers"));
  }

  async release(): Promise<void> {}

  diskUsage() {
    const images = new Map(this.list().map(({ id, size }) => [id, { size, shared: 0 }]));
    return Promise.resolve({
      total: 1300,
      imagesSize: 1234,
      imagesReclaimable: 0,
      images,
      cacheSize: 66,
      cacheReclaimable: 66,
      cache: [],
    });
  }
}
