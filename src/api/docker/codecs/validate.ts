import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";

export interface Problem {
  /** "HostConfig.Memory"; "" for the whole. */
  readonly path: string;
  /** "must be integer". */
  readonly reason: string;
}

export interface RequestValidator {
  /** What is wrong with `value`; undefined when nothing is. */
  problem(value: unknown): Problem | undefined;
}

const validators = new WeakMap<object, RequestValidator>();

/** The validator of `schema`, compiled at its first use. */
export function validatorOf(schema: TSchema): RequestValidator {
  let validator = validators.get(schema);
  if (validator === undefined) {
    const compiled = Compile(schema);
    validator = {
      problem: (value) => (compiled.Check(value) ? undefined : worst(compiled.Errors(value))),
    };
    validators.set(schema, validator);
  }
  return validator;
}

/** The most telling of a union's errors: the deepest one that doesn't ask for null, which every member may be. */
function worst(errors: readonly { readonly instancePath: string; readonly message: string }[]): Problem {
  const telling = errors.filter((error) => !/\bnull\b|anyOf|match a schema/i.test(error.message));
  const [first] = (telling.length > 0 ? telling : errors).toSorted(
    (a, b) => depth(b.instancePath) - depth(a.instancePath),
  );
  if (first === undefined) return { path: "", reason: "is invalid" };
  return { path: first.instancePath.slice(1).replaceAll("/", "."), reason: first.message };
}

const depth = (path: string) => path.split("/").length;
