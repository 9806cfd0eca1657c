import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, it } from "vitest";
import { background, withSignal } from "../base/op-context.ts";
import { Uploads } from "./uploads.ts";

const ctx = background();
const read = async (body: Readable): Promise<string> => (await buffer(body)).toString();
const body = () => Readable.from([Buffer.from("tar")]);

it("brings a build and its context together, whichever comes first", async () => {
  const uploads = new Uploads();
  const using = uploads.use(ctx, "a", read);
  await uploads.give(ctx, "a", body());
  expect(await using).toBe("tar");
  const giving = uploads.give(ctx, "a", body());
  expect(await uploads.use(ctx, "a", read)).toBe("tar");
  await giving;
});

it("keeps those of several builds apart", async () => {
  const uploads = new Uploads();
  const texts = ["a", "b"].map((id) => uploads.use(ctx, id, read));
  await Promise.all(["b", "a"].map((id) => uploads.give(ctx, id, Readable.from([Buffer.from(id)]))));
  expect(await Promise.all(texts)).toEqual(["a", "b"]);
});

it("lets the context's request go when the build is over without having read it", async () => {
  const uploads = new Uploads();
  const giving = uploads.give(ctx, "a", body());
  await expect(uploads.use(ctx, "a", () => Promise.reject(new Error("no such base")))).rejects.toThrow("no such base");
  await giving;
});

it("gives up with its request", async () => {
  const uploads = new Uploads();
  const gone = new AbortController();
  const giving = uploads.give(withSignal(ctx, gone.signal), "a", body());
  gone.abort();
  await expect(giving).rejects.toThrow();
});
