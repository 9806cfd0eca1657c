/** Which template fits a machine: pure but for what it is told about files. */
import { createHash } from "node:crypto";
import type { Field } from "../../guest/frames.ts";

/** Raised when the making of templates changes in a way that nothing else of the key shows. */
const recipe = 1;

/** What a template's state depends on beside the machine itself. */
export interface TemplateGround {
  /** Whose guests it may become: clones share its memory, and one owner's are never another's. An engine has one owner so far. */
  readonly owner: string;
  /** QEMU's program: a digest, of which the version is part. */
  readonly qemu: string;
  /** berth-vmm: it knows the order of devices. */
  readonly vmm: string;
  /** Kernel, modules and agent. */
  readonly kit: string;
  /** The image's disk, as a file: made anew it has other blocks. */
  readonly image: string;
  /** The host's processor and kernel where guests see them (KVM), else "". */
  readonly processor: string;
}

/** Fields of a machine's specification that are the same for all machines, or are said to each one after it was restored. */
const sayable = /^(kernel|initrd|image|scratch|scratch\.cache|run|discard|configure\.(?!share$).*|run\..*)$/;
/** What a template has in it. */
const kept = /^(accel|memory|cpus|spare|mount\..*)$/;
/** The mounts of its main process, which waits in it. */
const walls = /^run\.(privileged|readonly|masked)$/;

/** The digest of all that makes a template fit; undefined when a machine has something that none can have (a share, a device). */
export function templateKey(fields: readonly Field[], ground: TemplateGround): string | undefined {
  const shape = templateShape(fields);
  if (shape === undefined) return undefined;
  return createHash("sha256")
    .update(JSON.stringify([groundText(ground), shape]))
    .digest("hex");
}

/** The same for all templates that are made now on this host of one image: another one's can be matched by nothing any more. */
export function groundText(ground: TemplateGround): string {
  return JSON.stringify([recipe, Object.entries(ground).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
}

/** The fields that a template is booted with, for nobody: a network is a device without a name yet. */
export function templateShape(fields: readonly Field[]): readonly Field[] | undefined {
  const shape: Field[] = [];
  for (const [name, value] of fields) {
    if (name === "net") shape.push([name, "-"]);
    else if (walls.test(name)) shape.push([name.replace("run.", "prepare."), value]);
    // Mounted, with nothing in it yet.
    else if (name === "configure.file") shape.push([name, value.slice(0, value.indexOf("\n") + 1)]);
    else if (kept.test(name)) shape.push([name, value]);
    else if (!sayable.test(name)) return undefined;
  }
  return shape;
}
