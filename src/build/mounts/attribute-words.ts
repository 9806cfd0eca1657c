import type { MountAttributes } from "../../dockerfile/run-mount.ts";

/** Those that were given, as they are written in a Dockerfile. */
export function attributeWords({ mode, uid, gid }: MountAttributes): readonly string[] {
  return [
    ...(mode === undefined ? [] : [`mode=${mode.toString(8)}`]),
    ...(uid === undefined ? [] : [`uid=${uid}`]),
    ...(gid === undefined ? [] : [`gid=${gid}`]),
  ];
}
