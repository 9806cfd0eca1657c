import type { DockerHostConfig } from "../../../schema/docker/container.ts";
import type { SecuritySpec } from "../../../schema/instance.ts";
import { apiErrors } from "../errors.ts";

/** `--privileged`, `--cap-*`, `--read-only` and the words of `--security-opt`. */
export function securitySpec(host: DockerHostConfig): SecuritySpec {
  let noNewPrivileges = false;
  let seccomp = "default";
  const otherOptions: string[] = [];
  for (const option of host.SecurityOpt ?? []) {
    const { name, value } = parseOption(option);
    switch (name) {
      case "no-new-privileges":
        noNewPrivileges = value === undefined || parseBoolean(option, value);
        break;
      case "seccomp":
        seccomp = required(option, value) === "builtin" ? "default" : required(option, value);
        break;
      case "label":
        requireValue(option, value, "disable", "SELinux labels");
        otherOptions.push(option);
        break;
      case "apparmor":
        requireValue(option, value, "unconfined", "AppArmor profiles");
        otherOptions.push(option);
        break;
      default:
        throw apiErrors.API_BAD_REQUEST({
          message: `invalid --security-opt ${value === undefined ? 1 : 2}: ${JSON.stringify(option)}`,
        });
    }
  }
  return {
    privileged: host.Privileged ?? false,
    capAdd: (host.CapAdd ?? []).map(plainCapability),
    capDrop: (host.CapDrop ?? []).map(plainCapability),
    noNewPrivileges,
    seccomp,
    maskedPaths: host.MaskedPaths ?? null,
    readonlyPaths: host.ReadonlyPaths ?? null,
    readonlyRootfs: host.ReadonlyRootfs ?? false,
    otherOptions,
  };
}

/** "name", "name=value", or the older "name:value". */
function parseOption(option: string): { readonly name: string; readonly value: string | undefined } {
  const separator = option.includes("=") ? "=" : ":";
  const at = option.indexOf(separator);
  return at === -1 ? { name: option, value: undefined } : { name: option.slice(0, at), value: option.slice(at + 1) };
}

/** Go's strconv.ParseBool: any other word is refused, since it decides on a protection. */
function parseBoolean(option: string, value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw apiErrors.API_BAD_REQUEST({ message: `invalid --security-opt 2: ${JSON.stringify(option)}` });
}

function required(option: string, value: string | undefined): string {
  if (value !== undefined && value !== "") return value;
  throw apiErrors.API_BAD_REQUEST({ message: `invalid --security-opt 1: ${JSON.stringify(option)}` });
}

function requireValue(option: string, value: string | undefined, only: string, what: string): void {
  if (required(option, value) === only) return;
  throw apiErrors.API_UNSUPPORTED({
    what: `--security-opt ${option}`,
    hint: `${what} are not used; ${only} is accepted`,
  });
}

/** "cap_net_admin", "CAP_NET_ADMIN" and "NET_ADMIN" are the same. */
function plainCapability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}
