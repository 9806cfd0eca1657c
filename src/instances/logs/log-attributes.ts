/** What a log's options put beside each line: Docker's `labels`, `env`, their `-regex` forms, and `tag`. */
import { shortId } from "../../base/ids.ts";
import type { InstanceRecord } from "../../schema/instance.ts";

type Named = Pick<InstanceRecord, "id" | "name" | "imageId"> & {
  readonly spec: Pick<InstanceRecord["spec"], "image" | "labels" | "log" | "process">;
};

/** Attributes of every line of an instance's log, sorted by name, for `docker logs --details`. */
export function logAttributes(record: Named): readonly (readonly [name: string, value: string])[] {
  const { labels, log, process } = record.spec;
  const { options } = log;
  const environment = new Map(process.env.map(splitVariable));
  const attributes = new Map([
    ...chosen(new Map(Object.entries(labels)), options["labels"], options["labels-regex"]),
    ...chosen(environment, options["env"], options["env-regex"]),
  ]);
  const tag = options["tag"] ?? "";
  if (tag !== "") attributes.set("tag", expandTag(tag, record));
  return [...attributes].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The `{{.Field}}`s that a tag may have; undefined when it has anything else in braces. */
export function unknownTagField(tag: string): string | undefined {
  const placeholders = tag.match(/\{\{.*?(\}\}|$)/g) ?? [];
  return placeholders.find((text) => !tagField.test(text));
}

const tagField = /^\{\{-? *\.(ID|FullID|Name|ImageName|ImageID|ImageFullID|DaemonName) *-?\}\}$/;

function expandTag(tag: string, { id, name, imageId, spec }: Named): string {
  const fields: Readonly<Record<string, string>> = {
    ID: shortId(id),
    FullID: id,
    Name: name,
    ImageName: spec.image,
    ImageID: shortId(imageId.replace(/^sha256:/, "")),
    ImageFullID: imageId,
    DaemonName: "berth",
  };
  return tag.replaceAll(/\{\{.*?\}\}/g, (text) => fields[tagField.exec(text)?.[1] ?? ""] ?? text);
}

function* chosen(
  from: ReadonlyMap<string, string>,
  names = "",
  pattern = "",
): Generator<readonly [name: string, value: string]> {
  const wanted = new Set(names.split(","));
  const matching = pattern === "" ? undefined : new RegExp(pattern);
  for (const [name, value] of from) if (wanted.has(name) || matching?.test(name) === true) yield [name, value];
}

function splitVariable(entry: string): readonly [name: string, value: string] {
  const at = entry.indexOf("=");
  return at === -1 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
}
