import type { TSchema } from "typebox";
import { EngineConfig } from "../../schema/config.ts";

/** One setting, as the schema states it, with its spelling in each source. */
export interface Setting {
  /** Property of {@link EngineConfig}: "dataRoot". */
  readonly property: keyof EngineConfig;
  /** In the configuration file and as a flag without dashes: "data-root". */
  readonly flag: string;
  /** One-letter flag, if any. */
  readonly short: string | undefined;
  /** "BERTH_DATA_ROOT". */
  readonly variable: string;
  readonly kind: "string" | "integer" | "number" | "boolean" | "strings" | "pools";
  readonly description: string;
  readonly default: unknown;
  readonly schema: TSchema;
}

/** Every setting, in the schema's order. */
export const settings: readonly Setting[] = Object.entries(EngineConfig.properties).map(([property, schema]) => {
  const annotations: Record<string, unknown> = { ...schema };
  const kebab = property.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    property: property as keyof EngineConfig,
    flag: typeof annotations["flag"] === "string" ? annotations["flag"] : kebab,
    short: typeof annotations["short"] === "string" ? annotations["short"] : undefined,
    variable: `BERTH_${kebab.replaceAll("-", "_").toUpperCase()}`,
    kind: kindOf(annotations),
    description: String(annotations["description"]),
    default: annotations["default"],
    schema,
  };
});

function kindOf(schema: Record<string, unknown>): Setting["kind"] {
  if (schema["type"] === "integer") return "integer";
  if (schema["type"] === "number") return "number";
  if (schema["type"] === "boolean") return "boolean";
  if (schema["type"] !== "array") return "string";
  const items = schema["items"];
  return typeof items === "object" && items !== null && "type" in items && items.type === "object"
    ? "pools"
    : "strings";
}
