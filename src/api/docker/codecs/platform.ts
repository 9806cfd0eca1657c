import { normalisePlatform } from "../../../images/platform.ts";
import type { Platform } from "../../../schema/image.ts";
import { apiErrors } from "../errors.ts";

/** The newer parameters take a platform as JSON: `{"os":"linux","architecture":"arm64"}`. */
export function platformParameter(text: string): Platform | undefined {
  if (text === "") return undefined;
  const invalid = (reason: string) => apiErrors.API_INVALID_PARAMETER({ name: "platform", value: text, reason });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw invalid("failed to parse platform");
  }
  const fields = new Map<string, unknown>(typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : []);
  const os = fields.get("os");
  const architecture = fields.get("architecture");
  const variant = fields.get("variant");
  if (typeof os !== "string" || os === "") throw invalid("the os is missing");
  if (typeof architecture !== "string" || architecture === "") throw invalid("the architecture is missing");
  return normalisePlatform({ os, architecture, ...(typeof variant === "string" && variant !== "" ? { variant } : {}) });
}
