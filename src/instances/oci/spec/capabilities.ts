import { capabilityNames } from "../../../schema/capability.ts";
import type { SecuritySpec } from "../../../schema/instance.ts";
import { ociErrors } from "../errors.ts";
import type { OciCapabilities } from "./oci-spec.ts";

/** Docker's default set. */
const byDefault: readonly string[] = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
];

/**
 * The capabilities that a container gets, with "CAP_": the default set, less `capDrop`, plus `capAdd` ("ALL" in either).
 * `available` are those that this process has. Nothing is inheritable (CVE-2022-24769).
 */
export function containerCapabilities(
  security: Pick<SecuritySpec, "privileged" | "capAdd" | "capDrop">,
  available: readonly string[],
): readonly string[] {
  const has = new Set(available);
  const all = capabilityNames.filter((name) => has.has(name));
  if (security.privileged) return prefixed(all);
  const add = security.capAdd.map((name) => checked(name, has));
  const drop = new Set(security.capDrop.map((name) => checked(name, has)));
  if (add.includes("ALL")) return prefixed(all.filter((name) => !drop.has(name)));
  if (drop.has("ALL")) return prefixed(add);
  const kept = byDefault.filter((name) => has.has(name) && !drop.has(name));
  return prefixed([...new Set([...kept, ...add])]);
}

/** The specification's sets for a process with `names`. */
export function capabilitySets(names: readonly string[]): OciCapabilities {
  return { bounding: names, effective: names, permitted: names };
}

function checked(given: string, available: ReadonlySet<string>): string {
  const name = given.toUpperCase().replace(/^CAP_/, "");
  if (name === "ALL") return name;
  if (!capabilityNames.some((one) => one === name)) throw ociErrors.CAPABILITY_UNKNOWN({ name });
  if (!available.has(name)) throw ociErrors.CAPABILITY_NOT_AVAILABLE({ name });
  return name;
}

function prefixed(names: readonly string[]): readonly string[] {
  return names.map((name) => `CAP_${name}`);
}
