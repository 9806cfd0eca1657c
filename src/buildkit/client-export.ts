/** Results that go to a build's client: files into its directory, or one archive. */
import type { Readable } from "node:stream";
import type { OpContext } from "../base/op-context.ts";
import type { BuiltImage } from "../build/build-service.ts";
import type { ImageService } from "../images/image-service.ts";
import type { ClientTarget } from "./exporters.ts";
import { ownStep, transferred } from "./own-step.ts";
import { sendDirectory } from "./session/directory-send.ts";
import { sendBytes } from "./session/file-send.ts";
import type { ClientSession } from "./session/sessions.ts";
import type { StatusLog } from "./status-log.ts";

export interface ClientExport {
  readonly images: ImageService;
  readonly session: ClientSession;
  readonly status: StatusLog;
  readonly target: ClientTarget;
  readonly built: BuiltImage;
}

export async function exportToClient(ctx: OpContext, parts: ClientExport): Promise<void> {
  const { images, session, status, target, built } = parts;
  const { format, exporter, names } = target;
  switch (format) {
    case "local":
      return await ownStep(status, "exporting to client directory", async (tell) => {
        const { report, done } = transferred(tell, "copying files");
        await sendDirectory(ctx, session, await built.files(ctx), { exporter, progress: report });
        done();
      });
    case "tar":
      return await sendArchive(ctx, parts, "exporting to client tarball", async (ctx) => {
        const { root } = await built.files(ctx);
        return await root.pack(ctx, { path: "/", rename: "", semantics: "plain" });
      });
    case "docker":
    case "oci":
      return await sendArchive(ctx, parts, `exporting to ${format} image format`, (ctx) =>
        images.saveAs(ctx, built.image.id, names),
      );
  }
}

async function sendArchive(
  ctx: OpContext,
  { session, status, target: { exporter } }: ClientExport,
  step: string,
  open: (ctx: OpContext) => Promise<Readable>,
): Promise<void> {
  await ownStep(status, step, async (tell) => {
    const { report, done } = transferred(tell, "sending tarball");
    await sendBytes(ctx, session, { exporter, progress: report, open });
    done();
  });
}
