/**
 * Which snapshots a machine has, and which came of which: QEMU knows only names in disks. A file beside the disks, so that it goes and
 * comes with them. It is the journal, too: what is being made or removed stands in it before the first disk is touched, and is taken away
 * by whoever opens it after a kill.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Check } from "typebox/value";
import { publishText } from "../../host/publish.ts";
import { MachineSpec } from "../../schema/machine.ts";
import { ResourceSpec } from "../../schema/resources.ts";
import { liveErrors } from "./errors.ts";

export const SnapshotEntry = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: Type.String(),
  /** Id of the one that the machine had been at; "" for none. */
  parent: Type.String(),
  /** ISO 8601. */
  createdAt: Type.String(),
  /** With memory and devices; else disks alone. */
  memory: Type.Boolean(),
  /** Names, kinds and places of its devices at that time; memory fits the same ones only. */
  devices: Type.Array(Type.String()),
  /** They are those that it starts with: nothing had been plugged in since. */
  asStarted: Type.Boolean(),
  machine: MachineSpec,
  resources: ResourceSpec,
  state: Type.Union([Type.Literal("making"), Type.Literal("ready"), Type.Literal("removing")]),
});
export type SnapshotEntry = Static<typeof SnapshotEntry>;

const Book = Type.Object({
  snapshots: Type.Array(SnapshotEntry),
  /** Id of the one that the machine was last at; "" for none. */
  current: Type.String(),
  /** Id of the one whose disks are being put back; "" for none. */
  reverting: Type.String(),
});
export type Book = Static<typeof Book>;

const fileIn = (dataDir: string) => join(dataDir, "snapshots.json");
const empty: Book = { snapshots: [], current: "", reverting: "" };

/** As a snapshot is called in the disks. */
export const tagOf = ({ id }: Pick<SnapshotEntry, "id">) => `berth-${id}`;

export async function readBook(dataDir: string): Promise<Book> {
  const file = fileIn(dataDir);
  if (!existsSync(file)) return empty;
  const book: unknown = JSON.parse(await readFile(file, "utf8"));
  if (!Check(Book, book)) throw liveErrors.SNAPSHOTS_UNREADABLE({ file });
  return book;
}

export async function writeBook(dataDir: string, book: Book): Promise<void> {
  await publishText(fileIn(dataDir), JSON.stringify(book));
}

/** By name or id. `SNAPSHOT_NOT_FOUND`. */
export function findSnapshot(book: Book, nameOrId: string, machine: string): SnapshotEntry {
  const found = book.snapshots.find(({ name, id }) => name === nameOrId || id === nameOrId);
  if (found === undefined) throw liveErrors.SNAPSHOT_NOT_FOUND({ snapshot: nameOrId, machine });
  return found;
}

/** The book without `entry`, whose children come to be its parent's. */
export function without(book: Book, entry: SnapshotEntry): Book {
  const adopt = (parent: string) => (parent === entry.id ? entry.parent : parent);
  return {
    ...book,
    current: adopt(book.current),
    snapshots: book.snapshots
      .filter(({ id }) => id !== entry.id)
      .map((each) => ({ ...each, parent: adopt(each.parent) })),
  };
}

export function replaced(book: Book, entry: SnapshotEntry): Book {
  return { ...book, snapshots: book.snapshots.map((each) => (each.id === entry.id ? entry : each)) };
}
