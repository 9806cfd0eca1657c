import type { MountEntry } from "../host.ts";

/**
 * Mounts whose target is `prefix` or below it, in mount order, from the text of /proc/self/mountinfo
 * (proc_pid_mountinfo(5)). A prefix that ends in a slash names only what is below it.
 */
export function parseMountinfo(text: string, prefix: string): readonly MountEntry[] {
  const below = prefix.endsWith("/") ? prefix : `${prefix}/`;
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    // 36 35 98:0 /root /target rw,noatime master:1 - ext3 /dev/root rw: optional fields end at the lone dash.
    const [before = "", after = ""] = line.split(" - ", 2);
    const target = unescapeOctal(before.split(" ")[4] ?? "");
    if (target !== prefix && !target.startsWith(below)) continue;
    const [fstype = "", source = ""] = after.split(" ");
    entries.push({ target, source: unescapeOctal(source), fstype });
  }
  return entries;
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescapeOctal(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
