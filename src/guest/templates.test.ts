import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../base/logger.ts";
import { Templates, templateFiles } from "./templates.ts";

const [one, two, three] = ["1", "2", "3"].map((digit) => digit.repeat(64)) as [string, string, string];
const kib = 1024;
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-templates-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const open = (maxBytes = 1024 * kib) => new Templates({ root, maxBytes, log: silentLogger });

/** With as much memory as stated. */
const saving =
  (ramKiB = 4) =>
  async (draft: string) => {
    for (const name of [templateFiles.state, templateFiles.scratch, templateFiles.pristine]) {
      writeFileSync(join(draft, name), name);
    }
    writeFileSync(join(draft, templateFiles.ram), Buffer.alloc(ramKiB * kib, 1));
  };

describe("a template", () => {
  it("is there once it is whole, and nobody may write to it", async () => {
    const templates = open();
    expect(templates.find(one)).toBeUndefined();
    await templates.make(one, { image: "image", ground: "now" }, saving());
    const found = templates.find(one);
    expect(found?.key).toBe(one);
    for (const name of Object.values(templateFiles)) {
      expect(statSync(join(found?.directory ?? "", name)).mode & 0o777, name).toBe(0o400);
    }
    expect(templates.list()).toMatchObject([{ key: one, image: "image" }]);
    expect(templates.list()[0]?.bytes).toBeGreaterThan(4 * kib);
  });

  it("that could not be saved leaves nothing", async () => {
    const templates = open();
    await expect(
      templates.make(one, { image: "image", ground: "now" }, () => Promise.reject(new Error("no boot"))),
    ).rejects.toThrow("no boot");
    expect(readdirSync(join(root, "templates"))).toEqual([]);
  });

  it("is not published when its image went meanwhile, and goes when its image goes", async () => {
    const templates = open();
    await templates.make(one, { image: "image", ground: "now" }, saving(), () => false);
    expect(readdirSync(join(root, "templates"))).toEqual([]);
    await templates.make(one, { image: "image", ground: "now" }, saving());
    await templates.make(two, { image: "other", ground: "now" }, saving());
    await templates.removeImage("image");
    expect([templates.find(one), templates.find(two)?.key]).toEqual([undefined, two]);
  });

  it("goes when nothing can match what it was made of, or it does not tell", async () => {
    const templates = open();
    await templates.make(one, { image: "image", ground: "old" }, saving());
    await templates.make(two, { image: "image", ground: "now" }, saving());
    await templates.make(three, { image: "image", ground: "now" }, saving());
    const about = join(root, "templates", three, templateFiles.about);
    rmSync(about);
    writeFileSync(about, JSON.stringify({ image: "image" }));
    expect((await templates.dropStale(({ ground }) => ground !== "now")).toSorted()).toEqual([one, three]);
    expect(templates.list().map(({ key }) => key)).toEqual([two]);
  });

  it("gives way to others by its last use, when all together take more than they may", async () => {
    const templates = open(300 * kib);
    await templates.make(one, { image: "image", ground: "now" }, saving(100));
    await templates.make(two, { image: "image", ground: "now" }, saving(100));
    utimesSync(join(root, "templates", one), 1000, 1000);
    utimesSync(join(root, "templates", two), 2000, 2000);
    templates.find(one);
    await templates.make(three, { image: "image", ground: "now" }, saving(100));
    expect([one, two, three].map((key) => templates.find(key) !== undefined)).toEqual([true, false, true]);
  });

  it("that alone takes more than all may is not kept, nor made again", async () => {
    const templates = open(50 * kib);
    await templates.make(one, { image: "image", ground: "now" }, saving(100));
    expect([templates.find(one), templates.allows(one), templates.allows(two)]).toEqual([undefined, false, true]);
    expect(open(0).allows(one)).toBe(false);
  });
});

it("what a killed engine left half made is collected, with what belongs to no image any more", async () => {
  const templates = open();
  await templates.make(one, { image: "gone", ground: "now" }, saving());
  await templates.make(two, { image: "needed", ground: "now" }, saving());
  mkdirSync(join(root, "templates", "draft-0123"));
  mkdirSync(join(root, "templates", three));
  await templates.collect(async (image) => image === "needed");
  expect(readdirSync(join(root, "templates"))).toEqual([two]);
  expect(await templates.prune()).toMatchObject([{ key: two }]);
  expect(existsSync(join(root, "templates", two))).toBe(false);
});
