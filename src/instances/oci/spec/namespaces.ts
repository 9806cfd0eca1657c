import type { PrepareRequest } from "../../driver.ts";
import { ociErrors } from "../errors.ts";
import type { OciNamespace } from "./oci-spec.ts";

/** A mount namespace always; of the others a fresh one, a given one, or ("host") none. */
export function containerNamespaces(
  namespaces: PrepareRequest["namespaces"],
  userMode: string,
): readonly OciNamespace[] {
  if (userMode !== "" && userMode !== "host") throw ociErrors.USER_NAMESPACE_UNSUPPORTED({ mode: userMode });
  const types = ["network", "pid", "ipc", "uts", "cgroup"] as const;
  return [{ type: "mount" }, ...types.flatMap((type) => namespace(type, namespaces[type]))];
}

function namespace(type: OciNamespace["type"], mode: string): readonly OciNamespace[] {
  if (mode === "host") return [];
  return mode === "private" ? [{ type }] : [{ type, path: mode }];
}
