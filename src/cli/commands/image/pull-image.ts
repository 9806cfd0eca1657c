import type { CliContext } from "../../command.ts";
import { registryAuth } from "../../registry-auth.ts";
import { drawProgress } from "../../render/progress.ts";

/** Pulls an image with the user's own registry credentials and draws the progress. */
export async function pullImage(
  ctx: CliContext,
  reference: string,
  options: { readonly platform?: string | undefined; readonly quiet?: boolean; readonly allTags?: boolean },
): Promise<void> {
  const at = reference.lastIndexOf(":");
  const hasTag = reference.includes("@") || at > reference.lastIndexOf("/");
  const query = {
    fromImage: reference,
    tag: hasTag || options.allTags === true ? undefined : "latest",
    platform: options.platform,
  };
  const answer = await ctx.client.stream("POST", "/images/create", {
    query,
    headers: await registryAuth(ctx, reference),
  });
  await drawProgress(ctx, answer.body, { quiet: options.quiet === true });
}
