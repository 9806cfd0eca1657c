/** What `berth doctor` says of virtual machines: not a word more than a warning, as containers need none of it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../base/logger.ts";
import type { OpContext } from "../base/op-context.ts";
import type { HostCheck } from "../host/checks.ts";
import type { Host } from "../host/host.ts";
import { BootParts } from "../instances/qemu/boot-parts.ts";
import { guestBinaries } from "./guest-binaries.ts";

const noTemplates = { templateBytes: 0, log: silentLogger } as const;

/** Leaves nothing on a data root that is not there yet. */
export async function checkMachines(ctx: OpContext, host: Host, dataRoot: string): Promise<HostCheck> {
  const root = existsSync(dataRoot) ? join(dataRoot, "machines") : "";
  const snapshotter = { view: noLayers, hasLayer: noLayers };
  const parts = new BootParts({
    host,
    snapshotter,
    root,
    binaries: guestBinaries(),
    kernelPackage: "",
    ...noTemplates,
  });
  const about = { id: "virtual-machines", title: "Virtual machines" };
  const missing = parts.missing();
  if (missing.length > 0) {
    const remedy =
      "Install what is missing: npm run setup, or apt install --no-install-recommends qemu-system-x86 e2fsprogs";
    return { ...about, status: "warning", detail: `they can't be run: ${missing.join("; ")}`, remedy };
  }
  const { kind, reason } = await parts.acceleration(ctx);
  const detail = kind === "kvm" ? "with KVM" : `under emulation, some ten times slower than with KVM: ${reason}`;
  return { ...about, status: "ok", detail, remedy: "" };
}

function noLayers(): never {
  throw new Error("a check of the host looks at no layers");
}
