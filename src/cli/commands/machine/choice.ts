import { cliErrors } from "../../errors.ts";

/** A schema that is a choice of words, as TypeBox writes it. */
interface Choice<T extends string> {
  readonly anyOf: readonly { readonly const: T }[];
}

/** One of the schema's words; `OPTION_INVALID` lists them. */
export function choice<T extends string>({ anyOf }: Choice<T>, option: string, value: string): T {
  const words = anyOf.map((each) => each.const);
  const found = words.find((word) => word === value);
  if (found === undefined) throw cliErrors.OPTION_INVALID({ option, value, reason: `one of ${words.join(", ")}` });
  return found;
}
