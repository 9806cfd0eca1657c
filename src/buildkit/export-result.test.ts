/** Pushing, and what a client is told; clients' own outputs are in `session/directory-send.test.ts`. */
import { beforeEach, expect, it } from "vitest";
import { background } from "../base/op-context.ts";
import type { BuiltImage } from "../build/build-service.ts";
import type { ImageService, PushRequest } from "../images/image-service.ts";
import { imageErrors } from "../images/errors.ts";
import type { ImageRecord } from "../schema/image.ts";
import { exportResult } from "./export-result.ts";
import type { ExportTarget } from "./exporters.ts";
import type { ClientSession } from "./session/sessions.ts";
import { StatusLog } from "./status-log.ts";

let pushes: PushRequest[];
let asked: unknown[];
let status: StatusLog;
beforeEach(() => {
  pushes = [];
  asked = [];
  status = new StatusLog();
});

const exportTo = async (...targets: readonly ExportTarget[]) => {
  const images: Partial<ImageService> = {
    push: async (_ctx, request, progress) => {
      pushes.push(request);
      if (request.reference.includes("refusing")) throw imageErrors.PUSH_NO_TAGS({ name: request.reference });
      progress({ id: "abc", status: "Pushed" });
      progress({ aux: { Tag: "1", Digest: "sha256:pushed", Size: 1 } });
    },
  };
  const client: Partial<ClientSession["client"]> = {
    unary: async (_ctx, _method, _codecs, message) => {
      asked.push(message);
      return { Username: "bob", Secret: "s3cret" } as never;
    },
  };
  const session: Partial<ClientSession> = { supports: () => true, client: client as ClientSession["client"] };
  const image: Partial<ImageRecord> = {
    id: "sha256:id",
    manifest: { mediaType: "", digest: "sha256:stored", size: 1 },
  };
  const built: BuiltImage = { image: image as ImageRecord, files: () => Promise.reject(new Error("unused")) };
  const parts = { images: images as ImageService, session: session as ClientSession, status };
  return await exportResult(background(), parts, targets, built);
};

/** Names of the steps and of their lines, and the errors. */
async function told(): Promise<readonly string[]> {
  status.end();
  const lines: string[] = [];
  for await (const { vertexes = [], statuses = [] } of status.read()) {
    lines.push(
      ...vertexes.flatMap(({ name = "", error, completed }) => (completed ? `${name}: ${error ?? "good"}` : [])),
    );
    lines.push(...statuses.map(({ ID = "" }) => ID));
  }
  return lines;
}

it("pushes each name with the client's credentials, and tells the manifest's digest", async () => {
  const names = ["reg.example/a:1", "b"];
  expect(await exportTo({ kind: "image", names, push: true })).toEqual({
    "containerimage.config.digest": "sha256:id",
    "containerimage.digest": "sha256:pushed",
    "image.name": "reg.example/a:1,docker.io/library/b:latest",
  });
  expect(pushes.map(({ reference, auth }) => [reference, auth?.username, auth?.password])).toEqual([
    ["reg.example/a:1", "bob", "s3cret"],
    ["b", "bob", "s3cret"],
  ]);
  expect(asked).toEqual([{ Host: "reg.example" }, { Host: "registry-1.docker.io" }]);
  const lines = await told();
  expect(lines).toContain("pushing reg.example/a:1: good");
  expect(lines).toContain("pushing manifest for reg.example/a:1@sha256:pushed");
});

it("tells what the registry refused", async () => {
  await expect(exportTo({ kind: "image", names: ["refusing"], push: true })).rejects.toThrow(/refusing/);
  expect(await told()).toContainEqual(
    expect.stringMatching(/^pushing docker.io\/library\/refusing:latest: .*refusing/),
  );
});

it("tells an image of the engine's by its id, and nothing of no image", async () => {
  expect(await exportTo({ kind: "image", names: [], push: false })).toEqual({
    "containerimage.config.digest": "sha256:id",
    "containerimage.digest": "sha256:id",
  });
  expect(await exportTo()).toEqual({});
  expect(pushes).toEqual([]);
});
