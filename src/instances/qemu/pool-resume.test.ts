import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../base/logger.ts";
import { background } from "../../base/op-context.ts";
import type { Field } from "../../guest/frames.ts";
import { type TemplateModel, templateFiles, Templates } from "../../guest/templates.ts";
import { idleMs } from "./pool-plan.ts";
import { type PoolResumption, resumePool } from "./pool-resume.ts";
import type { TemplateRequest } from "./template-maker.ts";

const MiB = 1024 * 1024;
const [one, two] = ["1".repeat(64), "2".repeat(64)] as const;
const model: TemplateModel = {
  fields: [
    ["accel", "tcg"],
    ["net", "-"],
    ["prepare.masked", "/proc/kcore"],
  ],
  memory: 64 * MiB,
};

let root: string;
let templates: Templates;
let used: { readonly like: TemplateRequest; readonly agoMs: number | undefined }[];
let fitting: (fields: readonly Field[]) => string | undefined;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-resume-"));
  templates = new Templates({ root, maxBytes: 1e9, log: silentLogger });
  writeFileSync(join(root, "image.ext4"), "");
  used = [];
  fitting = () => one;
});
afterEach(() => rmSync(root, { recursive: true }));

async function made(key: string, origin: { readonly model?: TemplateModel; readonly image?: string } = { model }) {
  await templates.make(key, { image: "image", ground: "now", ...origin }, async (draft) => {
    for (const name of Object.values(templateFiles)) writeFileSync(join(draft, name), "");
  });
}

const unused = () => Promise.reject(new Error("not asked here"));
const resumption = (more: { readonly size?: number; readonly kit?: string | undefined } = {}): PoolResumption => ({
  parts: {
    vmm: "/vmm",
    missing: () => [],
    kit: async () => ({ digest: "k", kernel: "/k", initrd: "/i", readerInitrd: "", kernelVersion: "" }),
    currentKit: async () => ("kit" in more ? more.kit : "k"),
    acceleration: async () => ({ kind: "tcg", reason: "" }),
    imageDisk: unused,
    imagePath: (image) => join(root, `${image}.ext4`),
    blankDisk: async () => "/blank",
    scratchDisk: async () => {},
    fileDaemon: unused,
    fileDaemonProgram: () => undefined,
    waiting: root,
    templates,
  },
  maker: {
    keyOf: async (fields) => {
      const key = fitting(fields);
      return key === undefined ? undefined : { key, ground: "now" };
    },
  },
  pool: { size: more.size ?? 1, used: (like, agoMs) => void used.push({ like, agoMs }) },
  places: { runRoot: "/run/berth", cgroupParent: "/berth" },
});

describe("the pool of an engine that has just been started", () => {
  it("is told of a template that was in use, as a machine of it that is nobody would be", async () => {
    await made(one);
    const longAgo = new Date(Date.now() - idleMs / 2);
    utimesSync(join(root, "templates", one), longAgo, longAgo);
    fitting = (fields) => (fields.some(([name]) => name === "run.masked") ? one : undefined);
    await resumePool(background(), resumption());
    expect(used).toHaveLength(1);
    expect(used[0]?.like).toMatchObject({
      key: one,
      parts: { kernel: "/k", initrd: "/i", image: join(root, "image.ext4"), blank: "/blank", kvm: false },
      request: { spec: { isolation: "vm", resources: { memory: 64 * MiB } }, interfaces: [], mounts: [] },
    });
    expect(used[0]?.like.fields).toContainEqual(["scratch", "/berth/scratch"]);
    expect(used[0]?.like.request.cgroupPath).toMatch(/^\/berth\/[0-9a-f]{64}$/);
    expect(used[0]?.agoMs).toBeGreaterThan(idleMs / 2 - 1);
  });

  it("is told of the one that was used last at the end", async () => {
    await made(one);
    await made(two);
    const earlier = new Date(Date.now() - 60_000);
    utimesSync(join(root, "templates", one), earlier, earlier);
    const keys = [one, two];
    fitting = () => keys.shift();
    await resumePool(background(), resumption());
    expect(used.map(({ like }) => like.key)).toEqual([one, two]);
  });

  const hindrances: readonly (readonly [string, () => void, Parameters<typeof resumption>[0]])[] = [
    ["it was not used for an hour", () => utimesSync(join(root, "templates", one), 1, 1), {}],
    ["a machine started now would not come from it", () => void (fitting = () => two), {}],
    ["its image has gone", () => rmSync(join(root, "image.ext4")), {}],
    ["there is no pool", () => {}, { size: 0 }],
    ["a kernel would have to be downloaded", () => {}, { kit: undefined }],
  ];
  it.each(hindrances)("is not told of one when %s", async (_why, change, more) => {
    await made(one);
    change();
    await resumePool(background(), resumption(more));
    expect(used).toEqual([]);
  });

  it("is not told of one that a former engine made, which did not note what it is", async () => {
    await made(one, {});
    await resumePool(background(), resumption());
    expect(used).toEqual([]);
  });
});
