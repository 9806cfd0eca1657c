/** `RUN --mount=…`: file systems that a command sees and its layer does not (Dockerfile reference, "RUN --mount"). */
import { parseSize } from "../base/byte-size.ts";
import { didYouMean } from "./did-you-mean.ts";
import { syntaxError } from "./errors.ts";

/** One option, as written; `value` undefined for a bare word ("ro"). */
export interface MountField {
  /** Lower case, under its long name ("target", never "dst"). */
  readonly key: string;
  /** As the user called it. */
  readonly name: string;
  readonly value: string | undefined;
}

export type RunMount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount;

/** Files of another stage, of an image, or of the build context. */
export interface BindMount {
  readonly type: "bind";
  /** Absolute, or relative to the working directory; "" is that one. */
  readonly target: string;
  /** Stage or image; "" is the build context. */
  readonly from: string;
  readonly source: string;
  readonly readOnly: boolean;
}

/** A directory that outlives the build. */
export interface CacheMount {
  readonly type: "cache";
  readonly target: string;
  /** "" is the target. */
  readonly id: string;
  /** What a new one begins as: a stage or an image; "" is empty. */
  readonly from: string;
  readonly source: string;
  readonly readOnly: boolean;
  readonly sharing: CacheSharing;
  readonly attributes: MountAttributes;
}

export type CacheSharing = "shared" | "private" | "locked";

export interface TmpfsMount {
  readonly type: "tmpfs";
  readonly target: string;
  readonly readOnly: boolean;
  /** 0 is the kernel's own limit. */
  readonly sizeBytes: number;
}

/** A value that the build's client has. */
export interface SecretMount {
  readonly type: "secret";
  readonly id: string;
  /** "" when it only becomes a variable. */
  readonly target: string;
  /** Name of the variable; "" for none. */
  readonly env: string;
  readonly required: boolean;
  readonly attributes: MountAttributes;
}

/** A socket of the SSH agent that the build's client has. */
export interface SshMount {
  readonly type: "ssh";
  readonly id: string;
  /** "" is the default one, which counts the mounts of its kind. */
  readonly target: string;
  readonly required: boolean;
  readonly attributes: MountAttributes;
}

/** Undefined where nothing was said. */
export interface MountAttributes {
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** The options of `--mount`'s value, a line of CSV; nothing is expanded yet. */
export function splitMount(text: string): readonly MountField[] {
  const fields = splitCsv(text).map((field): MountField => {
    const equals = field.indexOf("=");
    const name = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const value = equals < 0 ? undefined : field.slice(equals + 1);
    const key = aliases[name] ?? name;
    if (!allKeys.includes(key)) {
      syntaxError(`unexpected key '${name}' in '${field}'${didYouMean(name, [...allKeys, ...Object.keys(aliases)])}`);
    }
    if (value === undefined && !bareWords.has(key)) syntaxError(`invalid field '${field}' must be a key=value pair`);
    return { key, name, value };
  });
  for (const [index, { key, name }] of fields.entries()) {
    const before = fields.slice(0, index).find((other) => other.key === key);
    if (before === undefined) continue;
    const both =
      before.name === name ? `'${name}' is given twice` : `'${before.name}' and '${name}' are the same option`;
    syntaxError(`duplicate key in '${text}': ${both}`);
  }
  const from = fields.find(({ key }) => key === "from")?.value ?? "";
  // Which stages there are to build is known before any variable is.
  if (/\$./s.test(from)) syntaxError(`'from' doesn't support variable expansion, define alias stage instead`);
  return fields;
}

/** Name of the stage or image that the mount is of; "" for none. */
export function mountSource(fields: readonly MountField[]): string {
  return fields.find(({ key }) => key === "from")?.value ?? "";
}

/** Whether all can be checked before variables are known. */
export function isPlainMount(fields: readonly MountField[]): boolean {
  return fields.every(({ value = "" }) => !/[$\\]/.test(value));
}

/** Of expanded options. Throws `DOCKERFILE_SYNTAX`. */
export function parseMount(fields: readonly MountField[]): RunMount {
  const values = new Map(fields.map(({ key, value }) => [key, value]));
  const type = mountType(values.get("type") ?? "bind");
  for (const { key, name } of fields) refuseForeignKey(type, key, name);
  const text = (key: string): string => values.get(key) ?? "";
  const attributes: MountAttributes = {
    mode: octal(text("mode")),
    uid: id("uid", text("uid")),
    gid: id("gid", text("gid")),
  };
  const target = text("target");
  switch (type) {
    case "bind":
      return { type, target, from: text("from"), source: text("source"), readOnly: readOnly(values, true) };
    case "cache": {
      if (target === "") missingTarget(type);
      const sharing = sharingMode(text("sharing"));
      const base = { from: text("from"), source: text("source") };
      return { type, target, id: text("id"), ...base, readOnly: readOnly(values, false), sharing, attributes };
    }
    case "tmpfs":
      if (target === "") missingTarget(type);
      return { type, target, readOnly: readOnly(values, false), sizeBytes: size(values.get("size")) };
    case "secret":
      if (!readOnly(values, true)) syntaxError("a secret mount is read-only");
      return { ...secretNames(values), type, required: flag("required", values, false), attributes };
    case "ssh":
      return { type, id: text("id") || "default", target, required: flag("required", values, false), attributes };
  }
}

const types = ["bind", "cache", "tmpfs", "secret", "ssh"] as const;
type MountType = (typeof types)[number];

const aliases: Readonly<Record<string, string>> = {
  dst: "target",
  destination: "target",
  src: "source",
  ro: "readonly",
  rw: "readwrite",
};

const keysOf: Readonly<Record<MountType, readonly string[]>> = {
  bind: ["target", "source", "from", "readonly", "readwrite"],
  cache: ["target", "id", "source", "from", "sharing", "readonly", "readwrite", "mode", "uid", "gid"],
  tmpfs: ["target", "size", "readonly", "readwrite"],
  secret: ["target", "id", "source", "env", "required", "readonly", "readwrite", "mode", "uid", "gid"],
  ssh: ["target", "id", "required", "mode", "uid", "gid"],
};

const allKeys: readonly string[] = ["type", ...new Set(Object.values(keysOf).flat())];

/** May stand without a value. */
const bareWords: ReadonlySet<string> = new Set(["readonly", "readwrite", "required"]);

function mountType(text: string): MountType {
  const found = types.find((type) => type === text.toLowerCase());
  if (found !== undefined) return found;
  return syntaxError(`unsupported mount type ${JSON.stringify(text)}${hintOf(text, types)}`);
}

function sharingMode(text: string): CacheSharing {
  const modes = ["shared", "private", "locked"] as const;
  const found = modes.find((mode) => mode === (text || "shared").toLowerCase());
  return found ?? syntaxError(`unsupported sharing value ${JSON.stringify(text)}${hintOf(text, modes)}`);
}

/** What it may be instead. */
function hintOf(text: string, known: readonly string[]): string {
  return didYouMean(text, known) || ` (it is one of ${known.join(", ")})`;
}

function refuseForeignKey(type: MountType, key: string, name: string): void {
  if (key === "type" || keysOf[type].includes(key)) return;
  if (key === "mode" || key === "uid" || key === "gid") syntaxError(`${key} not allowed for "${type}" type mounts`);
  if (key === "sharing") syntaxError(`invalid cache sharing set for ${type} mount`);
  if (type === "secret" && key === "from") syntaxError("secret mount should not have a from");
  if (type === "ssh" && key === "source") syntaxError("ssh does not support source");
  syntaxError(`unexpected key '${name}' for mount type '${type}'`);
}

function missingTarget(type: MountType): never {
  syntaxError(`a ${type} mount needs a target: --mount=type=${type},target=/path`);
}

/** A secret is named by `id`, by `source` as its other name, or else by its target. */
function secretNames(values: ReadonlyMap<string, string | undefined>): Pick<SecretMount, "id" | "target" | "env"> {
  const target = values.get("target") ?? "";
  const id = values.get("id") ?? "";
  const source = values.get("source") ?? "";
  const env = values.get("env") ?? "";
  if (id !== "" && source !== "") syntaxError("both source and id can't be set");
  const name = id || source || lastName(target);
  if (name === "") syntaxError("invalid secret mount. one of source, target required");
  if (values.has("env") && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(env)) {
    syntaxError(`invalid value ${JSON.stringify(env)} for env: it is no name of a variable`);
  }
  return { id: name, env, target: target === "" && env === "" ? `/run/secrets/${lastName(name)}` : target };
}

function lastName(path: string): string {
  return path.replace(/\/+$/, "").replace(/^.*\//s, "");
}

function readOnly(values: ReadonlyMap<string, string | undefined>, byDefault: boolean): boolean {
  if (values.has("readonly") && values.has("readwrite")) syntaxError("readonly and readwrite can't both be set");
  return values.has("readwrite") ? !flag("readwrite", values, true) : flag("readonly", values, byDefault);
}

/** A boolean option; a bare word is true. */
function flag(key: string, values: ReadonlyMap<string, string | undefined>, byDefault: boolean): boolean {
  if (!values.has(key)) return byDefault;
  const value = values.get(key) ?? "true";
  if (/^(?:1|t|true)$/i.test(value)) return true;
  if (/^(?:0|f|false)$/i.test(value)) return false;
  return syntaxError(`invalid value for ${key}: ${value}`);
}

function size(text: string | undefined): number {
  if (text === undefined) return 0;
  return parseSize(text) ?? syntaxError(`invalid value for size: ${text}`);
}

function octal(text: string): number | undefined {
  if (text === "") return undefined;
  if (!/^[0-7]{1,6}$/.test(text) || Number.parseInt(text, 8) > 0o7777) syntaxError(`invalid value ${text} for mode`);
  return Number.parseInt(text, 8);
}

function id(key: "uid" | "gid", text: string): number | undefined {
  if (text === "") return undefined;
  // The last one means "unchanged" to the kernel.
  if (!/^\d{1,10}$/.test(text) || Number(text) >= 2 ** 32 - 1) syntaxError(`invalid value ${text} for ${key}`);
  return Number(text);
}

/** One record (RFC 4180): a field in quotes may hold commas, and quotes that are doubled. */
function splitCsv(text: string): readonly string[] {
  const fields: string[] = [];
  for (let at = 0; at <= text.length; at++) {
    const quoted = /^"((?:[^"]|"")*)"(?=,|$)/.exec(text.slice(at));
    const end = quoted === null ? text.indexOf(",", at) : at + quoted[0].length;
    const stop = end < 0 ? text.length : end;
    fields.push(quoted === null ? text.slice(at, stop) : (quoted[1] ?? "").replaceAll('""', '"'));
    at = stop;
  }
  return fields;
}
