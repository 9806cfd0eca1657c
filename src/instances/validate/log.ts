import { messageOf } from "../../base/errors.ts";
import type { InstanceSpec } from "../../schema/instance.ts";
import { unknownTagField } from "../logs/log-attributes.ts";
import { parseSize } from "../../base/byte-size.ts";
import { invalid } from "./invalid.ts";

/** Options of Docker's drivers that Berth's log has as well; `labels`, `env` and `tag` become a line's attributes. */
const known: Readonly<Record<InstanceSpec["log"]["driver"], readonly string[]>> = {
  "json-file": ["max-size", "max-file", "labels", "labels-regex", "env", "env-regex", "tag"],
  local: ["max-size", "max-file"],
  none: [],
};

export function validateLog({ driver, options }: InstanceSpec["log"]): void {
  for (const [name, value] of Object.entries(options)) {
    if ((name === "compress" && value === "false") || (name === "mode" && value === "blocking")) continue;
    if (!known[driver].includes(name)) throw invalid(`unknown log opt '${name}' for ${driver} log driver`);
  }
  const maxSize = options["max-size"];
  if (maxSize !== undefined && (parseSize(maxSize) ?? 0) <= 0 && maxSize !== "-1") {
    throw invalid(`invalid value for "max-size": ${maxSize}: give a size such as 10m`);
  }
  const maxFile = options["max-file"];
  if (maxFile !== undefined && !/^[1-9]\d{0,3}$/.test(maxFile)) {
    throw invalid(`invalid value for "max-file": ${maxFile}: give a count of files, at least 1`);
  }
  for (const name of ["labels-regex", "env-regex"]) requirePattern(name, options[name]);
  const field = unknownTagField(options["tag"] ?? "");
  if (field !== undefined) {
    throw invalid(
      `invalid value for "tag": ${field} is none of ID, FullID, Name, ImageName, ImageID, ImageFullID, DaemonName`,
    );
  }
}

function requirePattern(name: string, pattern = ""): void {
  try {
    RegExp(pattern);
  } catch (error) {
    throw invalid(`invalid value for "${name}": ${messageOf(error)}`);
  }
}
