/** `--mount=type=secret`: what the build's client answers for a name, in memory only, for as long as the step runs. */
import { join } from "node:path";
import type { OpContext } from "../../base/op-context.ts";
import type { Reverter } from "../../base/reverter.ts";
import type { MountAttributes, SecretMount } from "../../dockerfile/run-mount.ts";
import { chmod, chown, mkdir, rmdir, writeFile } from "../../host/files.ts";
import type { Build } from "../build-parts.ts";
import type { ClientSecrets } from "../build-service.ts";
import { buildErrors } from "../errors.ts";
import { attributeWords } from "./attribute-words.ts";
import { bindOf, type PlannedMount } from "./planned-mount.ts";

export function planSecret(build: Build, mount: SecretMount, target: string): PlannedMount {
  const { secrets } = build.request;
  if (secrets === undefined) throw buildErrors.BUILD_NEEDS_SESSION({ type: "secret" });
  const words = [
    `id=${mount.id}`,
    ...(target === "" ? [] : [`target=${target}`]),
    ...(mount.env === "" ? [] : [`env=${mount.env}`]),
    ...attributeWords(mount.attributes),
  ];
  return {
    target,
    comment: `--mount=type=secret,${words.join(",")}`,
    open: async (ctx, closing) => {
      const value = await askSecret(ctx, secrets, mount);
      if (value === undefined) return {};
      const file = target === "" ? undefined : await placeSecret(ctx, build, value, mount.attributes, closing);
      return {
        mounts: file === undefined ? [] : [bindOf(file, target, true)],
        secretEnv: mount.env === "" ? [] : [`${mount.env}=${variableText(mount, value)}`],
      };
    },
  };
}

async function askSecret(
  ctx: OpContext,
  secrets: ClientSecrets,
  { id, required }: SecretMount,
): Promise<Uint8Array | undefined> {
  const value = await secrets.get(ctx, id);
  if (value === undefined && required) throw buildErrors.BUILD_SECRET_MISSING({ id });
  return value;
}

function variableText({ id }: SecretMount, value: Uint8Array): string {
  if (!value.includes(0)) return Buffer.from(value).toString("utf8");
  throw buildErrors.BUILD_MOUNT_INVALID({ reason: `secret ${id} holds a NUL byte, which no variable can` });
}

const executable = 0o111;

/** A file in a file system of its own, in memory. */
async function placeSecret(
  ctx: OpContext,
  build: Build,
  value: Uint8Array,
  { mode = 0o400, uid, gid }: MountAttributes,
  closing: Reverter,
): Promise<string> {
  const { kernel } = build.parts.host;
  const directory = join(build.directory, `secret-${build.nextSnapshotId()}`);
  await mkdir(directory, { mode: 0o700 });
  closing.add("remove the secret's mount point", () => rmdir(directory));
  const flags = ["nosuid", "nodev", ...((mode & executable) === 0 ? (["noexec"] as const) : []), "private"] as const;
  await kernel.apply(ctx, [
    { op: "mount", source: "tmpfs", target: directory, fstype: "tmpfs", flags, data: "mode=0700" },
  ]);
  closing.add("unmount the secret", (ctx) => kernel.apply(ctx, [{ op: "unmount", target: directory, detach: true }]));
  const file = join(directory, "secret");
  await writeFile(file, value, { mode: 0o600 });
  if (uid !== undefined || gid !== undefined) await chown(file, uid ?? 0, gid ?? 0);
  await chmod(file, mode & 0o777);
  return file;
}
