import type { ConfinedRoot } from "../../archive/confined-root.ts";
import { isBerthError } from "../../base/errors.ts";
import type { OpContext } from "../../base/op-context.ts";
import { buildErrors } from "../errors.ts";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** `--chown=user[:group]`: numbers, or names in the image's /etc/passwd and /etc/group. A lone user is its group as well. */
export async function resolveOwner(ctx: OpContext, root: ConfinedRoot, chown: string): Promise<Owner> {
  const [user = "", group = user, ...more] = chown.split(":");
  if (more.length > 0 || user === "" || group === "") {
    throw buildErrors.BUILD_CHOWN_INVALID({ reason: `invalid chown string format: ${chown}` });
  }
  const uid = idOf(user) ?? (await lookUp(ctx, root, "/etc/passwd", user));
  if (uid === undefined) {
    throw buildErrors.BUILD_CHOWN_INVALID({ reason: `can't find uid for user ${user}: no such user: ${user}` });
  }
  const gid = idOf(group) ?? (await lookUp(ctx, root, "/etc/group", group));
  if (gid === undefined) {
    throw buildErrors.BUILD_CHOWN_INVALID({ reason: `can't find gid for group ${group}: no such group: ${group}` });
  }
  return { uid, gid };
}

/** The third field of the line that starts with `name`. */
async function lookUp(ctx: OpContext, root: ConfinedRoot, file: string, name: string): Promise<number | undefined> {
  const text = await readText(ctx, root, file);
  for (const line of text.split("\n")) {
    const [entry, , id = ""] = line.split(":");
    if (entry === name) return idOf(id);
  }
  return undefined;
}

async function readText(ctx: OpContext, root: ConfinedRoot, file: string): Promise<string> {
  try {
    return Buffer.from(await root.readFile(ctx, file, 1 << 20)).toString("utf8");
  } catch (error) {
    if (isBerthError(error, "PATH_NOT_FOUND", "PATH_NOT_DIRECTORY")) return "";
    throw error;
  }
}

function idOf(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1 ? Number(text) : undefined;
}
