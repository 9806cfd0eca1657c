import type { OpContext } from "../base/op-context.ts";
import type { QmpClient } from "./qmp-client.ts";

/** Has QEMU write what is on the screen as a PNG to `path`, which is QEMU's view of the file system. A refusal without a screen. */
export async function takeScreenshot(ctx: OpContext, qmp: QmpClient, path: string): Promise<void> {
  await qmp.execute(ctx, "screendump", { filename: path, format: "png" });
}
