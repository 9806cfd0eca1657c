import { ociErrors } from "../errors.ts";
import type { OciDevice, OciDeviceRule } from "./oci-spec.ts";

/** Device nodes asked for, with what may be done with them. */
export interface GrantedDevice {
  readonly device: OciDevice;
  /** Letters of "rwm". */
  readonly access: string;
}

/** Everything is denied but null, zero, urandom, random, tty, console (a runtime adds ptmx and pts), and what is granted. */
export function deviceRules(
  privileged: boolean,
  granted: readonly GrantedDevice[],
  cgroupRules: readonly string[],
): readonly OciDeviceRule[] {
  if (privileged) return [{ allow: true, access: "rwm" }];
  return [
    { allow: false, access: "rwm" },
    ...harmless.map(([major, minor]) => ({ allow: true, type: "c", major, minor, access: "rwm" })),
    ...granted.map(({ device, access }) => ({
      allow: true,
      type: device.type,
      major: device.major,
      minor: device.minor,
      access,
    })),
    ...cgroupRules.map(parseRule),
  ];
}

const harmless: readonly (readonly [number, number])[] = [
  [1, 5],
  [1, 3],
  [1, 9],
  [1, 8],
  [5, 0],
  [5, 1],
];

function parseRule(rule: string): OciDeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(rule);
  if (match === null) throw ociErrors.DEVICE_RULE_INVALID({ rule });
  const [, type = "a", major = "*", minor = "*", access = ""] = match;
  return {
    allow: true,
    type,
    ...(major === "*" ? {} : { major: Number(major) }),
    ...(minor === "*" ? {} : { minor: Number(minor) }),
    access,
  };
}
