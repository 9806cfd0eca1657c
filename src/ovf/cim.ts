/** Names and numbers of OVF (DSP0243) and of the CIM classes that it builds on. */

export const namespaces = {
  ovf: "http://schemas.dmtf.org/ovf/envelope/1",
  ovf2: "http://schemas.dmtf.org/ovf/envelope/2",
  rasd: "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
  vssd: "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
  vmw: "http://www.vmware.com/schema/ovf",
  vbox: "http://www.virtualbox.org/ovf/machine",
  /** What the format has no words for: other programs pass over it. */
  berth: "urn:berth:ovf:1",
} as const;

/** What a disk in a package is, as a name of its format. */
export const vmdkFormat = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

/** CIM_ResourceAllocationSettingData.ResourceType. */
export const resourceType = {
  processor: 3,
  memory: 4,
  ide: 5,
  scsi: 6,
  ethernet: 10,
  floppy: 14,
  cd: 15,
  dvd: 16,
  disk: 17,
  /** "Other storage device": SATA controllers, of every program. */
  storage: 20,
  usb: 23,
  graphics: 24,
} as const;

/** CIM_OperatingSystem.OSType, the 64-bit ones. */
export const osType = { linux: 101, windows: 103, other: 1 } as const;

/** Of the same: all that are a Windows. */
const windows: ReadonlySet<number> = new Set([
  15, 16, 17, 18, 58, 63, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 103, 104, 105, 106, 111, 112, 113, 114, 115, 116,
  117, 118, 119,
]);
const linux: ReadonlySet<number> = new Set([
  36, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 107, 108, 109, 110,
]);

/** What the operating system is, by its number or, first, by the words that describe it. */
export function osOf(id: number, description: string): "linux" | "windows" | "other" {
  if (/windows|win(2k|xp|vista|7|8|10|11)/i.test(description)) return "windows";
  if (
    /linux|debian|ubuntu|fedora|centos|rhel|red ?hat|rocky|alma|suse|sles|arch|gentoo|alpine|oracle_64/i.test(
      description,
    )
  )
    return "linux";
  if (windows.has(id)) return "windows";
  return linux.has(id) ? "linux" : "other";
}

/**
 * Bytes in a unit: "byte * 2^20" (DSP0004, annex C), and what older programs write. Undefined for what is no unit of bytes.
 */
export function unitBytes(unit: string): number | undefined {
  const text = unit.trim().toLowerCase();
  const programmatic = /^bytes?(?:\s*\*\s*(2|10)\s*\^\s*(\d{1,2}))?$/.exec(text);
  if (programmatic !== null)
    return programmatic[1] === undefined ? 1 : Number(programmatic[1]) ** Number(programmatic[2]);
  const power = ["", "k", "m", "g", "t"].indexOf(
    /^(|k|m|g|t)(?:i?b|bytes?|ilobytes?|egabytes?|igabytes?|erabytes?)$/.exec(text)?.[1] ?? "-",
  );
  return power < 0 ? undefined : 1024 ** power;
}
