import type { BerthError } from "../../base/errors.ts";
import { instanceErrors } from "../errors.ts";

/** A request's field that can't be: `reason` names the value, why, and what would do. */
export function invalid(reason: string): BerthError {
  return instanceErrors.REQUEST_INVALID({ reason });
}
