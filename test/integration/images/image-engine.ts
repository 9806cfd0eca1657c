/** The image room with its real neighbours, in a directory of its own. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ThreadConfinedRoots } from "../../../src/archive/thread-confined-roots.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background, type OpContext } from "../../../src/base/op-context.ts";
import type { ProgressEvent } from "../../../src/base/progress.ts";
import { FileContentStore } from "../../../src/content/file-content-store.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import {
  createImageService,
  type EngineImages,
  type ImageServiceParts,
} from "../../../src/images/create-image-service.ts";
import type { EngineEvent } from "../../../src/schema/event.ts";
import { OverlaySnapshotter } from "../../../src/snapshots/overlay-snapshotter.ts";
import { EventBus } from "../../../src/state/events.ts";
import { openSqliteStore } from "../../../src/state/sqlite-store.ts";

export interface ImageEngine extends AsyncDisposable {
  readonly ctx: OpContext;
  readonly images: EngineImages;
  readonly snapshotter: OverlaySnapshotter;
  readonly content: FileContentStore;
  readonly events: readonly EngineEvent[];
  readonly root: string;
  /** Names in use, by image id. */
  readonly users: Map<string, { readonly instanceId: string; readonly running: boolean }[]>;
  /** Files that no record accounts for: partial downloads. */
  partials(): Promise<readonly string[]>;
  /** Digests of all blobs. */
  blobs(): Promise<readonly string[]>;
}

export type EngineOptions = Partial<
  Pick<ImageServiceParts, "config" | "retry" | "timeouts" | "credentials" | "etc" | "uploadChunkBytes">
> & {
  /** Opens an existing root again, as after a kill; it is not removed at the end. */
  readonly root?: string;
};

export const quickRetry = {
  attempts: 4,
  backoff: { initialMs: 10, maxMs: 50, factor: 2 },
  maxRetryAfterMs: 100,
} as const;

export async function openImageEngine(options: EngineOptions = {}): Promise<ImageEngine> {
  const ctx = background();
  const root = options.root ?? (await mkdtemp(join(tmpdir(), "berth-images-")));
  const host = await createLinuxHost({ log: silentLogger });
  const roots = new ThreadConfinedRoots();
  const snapshotter = await OverlaySnapshotter.open(ctx, {
    root: join(root, "snapshots"),
    host,
    roots,
    log: silentLogger,
  });
  const store = openSqliteStore(join(root, "state.db"));
  const content = new FileContentStore({ root: join(root, "content") });
  const bus = new EventBus();
  const users = new Map<string, { readonly instanceId: string; readonly running: boolean }[]>();
  const { root: _root, config, ...rest } = options;
  const images = createImageService({
    store,
    content,
    snapshotter,
    host,
    events: bus,
    users: (id) => users.get(id) ?? [],
    workDir: join(root, "work"),
    retry: quickRetry,
    config: {
      registryMirrors: [],
      insecureRegistries: [],
      maxConcurrentDownloads: 3,
      maxConcurrentUploads: 5,
      ...config,
    },
    ...rest,
  });
  await images.recover(ctx);
  return {
    ctx,
    images,
    snapshotter,
    content,
    users,
    root,
    get events() {
      return bus.recent();
    },
    partials: async () => await readdir(join(root, "content", "ingest")),
    blobs: async () => (await readdir(join(root, "content", "blobs", "sha256"))).map((hex) => `sha256:${hex}`),
    async [Symbol.asyncDispose]() {
      images[Symbol.dispose]();
      await snapshotter[Symbol.asyncDispose]();
      await roots[Symbol.asyncDispose]();
      store[Symbol.dispose]();
      await host.close();
      if (options.root === undefined) await rm(root, { recursive: true, force: true });
    },
  };
}

/** Collects progress as lines: "id status" or the stream's text. */
export function recordProgress(): {
  readonly lines: string[];
  readonly events: ProgressEvent[];
  readonly sink: (event: ProgressEvent) => void;
} {
  const lines: string[] = [];
  const events: ProgressEvent[] = [];
  return {
    lines,
    events,
    sink: (event) => {
      events.push(event);
      const line = event.stream?.trimEnd() ?? [event.id, event.status].filter(Boolean).join(" ");
      if (line !== "" && lines.at(-1) !== line) lines.push(line);
    },
  };
}
