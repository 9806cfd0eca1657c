/** Which `ARG`s have which value where (Dockerfile reference, "Scope" and "Using ARG variables"). */
import type { Dockerfile } from "./instruction.ts";

/** Arguments that need no `ARG`: they reach `RUN`, and neither history nor cache. */
const predefinedArgs: ReadonlySet<string> = new Set(
  ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]),
);

/** The arguments of a build. Values given by the user win over defaults in the Dockerfile. */
export class BuildArgs {
  readonly #given: ReadonlyMap<string, string>;
  /** TARGETPLATFORM and its like: known in `FROM` lines, and in stages that declare them. */
  readonly #automatic: ReadonlyMap<string, string>;
  readonly #meta = new Map<string, string | undefined>();

  /** A null value in `given` is one that the client's environment didn't have. */
  constructor(given: Readonly<Record<string, string | null>>, automatic: Readonly<Record<string, string>> = {}) {
    this.#given = new Map(
      Object.entries(given).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const])),
    );
    this.#automatic = new Map(Object.entries(automatic));
  }

  /** An `ARG` before the first `FROM`. */
  declareMeta(name: string, value: string | undefined): void {
    this.#meta.set(name, value);
  }

  /** What `FROM` lines and later meta arguments see. */
  meta(name: string): string | undefined {
    if (!this.#meta.has(name)) return this.#automatic.has(name) ? this.#global(name) : undefined;
    return this.#given.get(name) ?? this.#meta.get(name) ?? this.#automatic.get(name);
  }

  /** The scope of a fresh stage: nothing is declared in it yet. */
  stage(): StageArgs {
    return new StageArgs(
      (name) => this.#given.get(name),
      (name) => this.#global(name),
      new Map(),
    );
  }

  #global(name: string): string | undefined {
    return this.#given.get(name) ?? this.#meta.get(name) ?? this.#automatic.get(name);
  }
}

/** The arguments that one stage has declared so far. Immutable. */
export class StageArgs {
  readonly #given: (name: string) => string | undefined;
  readonly #global: (name: string) => string | undefined;
  readonly #declared: ReadonlyMap<string, string | undefined>;

  constructor(
    given: (name: string) => string | undefined,
    global: (name: string) => string | undefined,
    declared: ReadonlyMap<string, string | undefined>,
  ) {
    this.#given = given;
    this.#global = global;
    this.#declared = declared;
  }

  /** The scope after `ARG name=value`. */
  declare(name: string, value: string | undefined): StageArgs {
    return new StageArgs(this.#given, this.#global, new Map([...this.#declared, [name, value]]));
  }

  /** Undefined when it is neither declared here nor predefined, or has no value. */
  get(name: string): string | undefined {
    if (this.#declared.has(name)) return this.#given(name) ?? this.#declared.get(name) ?? this.#global(name);
    return predefinedArgs.has(name) ? this.#given(name) : undefined;
  }

  /** "NAME=value" of all that `RUN` gets, sorted: those that are not already in `env`. */
  forRun(env: readonly string[]): readonly string[] {
    return this.#list(env, [...this.#declared.keys(), ...predefinedArgs]);
  }

  /** Those of {@link forRun} that change the result: without predefined ones that nobody declared. */
  forCache(env: readonly string[]): readonly string[] {
    return this.#list(env, [...this.#declared.keys()]);
  }

  #list(env: readonly string[], names: readonly string[]): readonly string[] {
    const taken = new Set(env.map((variable) => variable.split("=", 1)[0]));
    return [...new Set(names)]
      .filter((name) => !taken.has(name))
      .flatMap((name) => {
        const value = this.get(name);
        return value === undefined ? [] : [`${name}=${value}`];
      })
      .sort();
  }
}

/** Arguments given by the user that no `ARG` in the Dockerfile declares. */
export function unusedArgs(given: Readonly<Record<string, string | null>>, dockerfile: Dockerfile): readonly string[] {
  const instructions = [...dockerfile.metaArgs, ...dockerfile.stages.flatMap((stage) => stage.instructions)];
  const declared = new Set(
    instructions.flatMap((instruction) => (instruction.kind === "arg" ? instruction.args.map(({ name }) => name) : [])),
  );
  return Object.keys(given)
    .filter((name) => !declared.has(name) && !predefinedArgs.has(name))
    .sort();
}

/** TARGETPLATFORM, TARGETOS, …, BUILDPLATFORM, …: what BuildKit defines. */
export function platformArgs(
  target: { readonly os: string; readonly architecture: string; readonly variant?: string },
  build: { readonly os: string; readonly architecture: string; readonly variant?: string },
): Readonly<Record<string, string>> {
  const one = (prefix: string, platform: typeof target): Record<string, string> => ({
    [`${prefix}PLATFORM`]: [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join(
      "/",
    ),
    [`${prefix}OS`]: platform.os,
    [`${prefix}ARCH`]: platform.architecture,
    [`${prefix}VARIANT`]: platform.variant ?? "",
  });
  return { ...one("TARGET", target), ...one("BUILD", build) };
}
