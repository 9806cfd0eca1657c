import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import type { OciSyscallArgument } from "../oci-spec.ts";

/** A seccomp profile as users of Docker write it, with every default filled in. */
export interface DockerProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
  readonly flags?: readonly string[];
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly syscalls: readonly DockerRule[];
}

export interface DockerRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args: readonly OciSyscallArgument[];
  readonly includes: DockerFilter;
  readonly excludes: DockerFilter;
}

export interface DockerFilter {
  readonly caps: readonly string[];
  readonly arches: readonly string[];
  readonly minKernel?: readonly [number, number];
}

/** Parses a profile's JSON text. Throws an Error that says what is wrong and where. */
export function parseDockerProfile(text: string): DockerProfile {
  const json: unknown = JSON.parse(text);
  if (!Value.Check(Profile, json)) {
    const first = [...Value.Errors(Profile, json)][0];
    throw new Error(first === undefined ? "it is not a profile" : `${first.instancePath || "/"}: ${first.message}`);
  }
  if ((json.architectures ?? []).length > 0 && (json.archMap ?? []).length > 0) {
    throw new Error(
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  }
  return {
    defaultAction: json.defaultAction ?? "",
    ...(typeof json.defaultErrnoRet === "number" ? { defaultErrnoRet: json.defaultErrnoRet } : {}),
    architectures: json.architectures ?? [],
    archMap: (json.archMap ?? []).map(({ architecture, subArchitectures }) => ({
      architecture,
      subArchitectures: subArchitectures ?? [],
    })),
    ...(json.flags === undefined ? {} : { flags: json.flags }),
    ...(json.listenerPath === undefined ? {} : { listenerPath: json.listenerPath }),
    ...(json.listenerMetadata === undefined ? {} : { listenerMetadata: json.listenerMetadata }),
    syscalls: (json.syscalls ?? []).map(rule),
  };
}

const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);
const Filter = Type.Object({
  caps: Type.Optional(Type.Array(Type.String())),
  arches: Type.Optional(Type.Array(Type.String())),
  minKernel: Type.Optional(Type.String({ pattern: String.raw`^\d+\.\d+$` })),
});
const Argument = Type.Object({
  index: Type.Integer({ minimum: 0, maximum: 5 }),
  value: Type.Number({ minimum: 0 }),
  valueTwo: Type.Optional(Type.Number({ minimum: 0 })),
  op: Type.String(),
});
const Rule = Type.Object({
  name: Type.Optional(Type.String()),
  names: Type.Optional(Type.Array(Type.String())),
  action: Type.String({ pattern: "^SCMP_ACT_" }),
  errnoRet: Type.Optional(Nullable(Type.Integer())),
  args: Type.Optional(Nullable(Type.Array(Argument))),
  includes: Type.Optional(Nullable(Filter)),
  excludes: Type.Optional(Nullable(Filter)),
});
type Rule = Static<typeof Rule>;
const Profile = Type.Object({
  defaultAction: Type.Optional(Type.String({ pattern: "^SCMP_ACT_" })),
  defaultErrnoRet: Type.Optional(Nullable(Type.Integer())),
  architectures: Type.Optional(Type.Array(Type.String())),
  archMap: Type.Optional(
    Type.Array(
      Type.Object({
        architecture: Type.String(),
        subArchitectures: Type.Optional(Nullable(Type.Array(Type.String()))),
      }),
    ),
  ),
  flags: Type.Optional(Type.Array(Type.String())),
  listenerPath: Type.Optional(Type.String()),
  listenerMetadata: Type.Optional(Type.String()),
  syscalls: Type.Optional(Nullable(Type.Array(Rule))),
});

function rule(given: Rule): DockerRule {
  const names = given.names ?? [];
  if (given.name !== undefined && given.name !== "" && names.length > 0) {
    throw new Error("both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
  }
  return {
    names: given.name === undefined || given.name === "" ? names : [given.name],
    action: given.action,
    ...(typeof given.errnoRet === "number" ? { errnoRet: given.errnoRet } : {}),
    args: given.args ?? [],
    includes: filter(given.includes),
    excludes: filter(given.excludes),
  };
}

function filter(given: Static<typeof Filter> | null | undefined): DockerFilter {
  const [major, minor] = (given?.minKernel ?? "").split(".").map(Number);
  return {
    caps: given?.caps ?? [],
    arches: given?.arches ?? [],
    ...(major === undefined || minor === undefined ? {} : { minKernel: [major, minor] as const }),
  };
}
