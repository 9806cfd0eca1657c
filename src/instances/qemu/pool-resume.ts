/** What waited before the engine's start waits again: nobody has to start a machine of each template first. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { newId } from "../../base/ids.ts";
import type { OpContext } from "../../base/op-context.ts";
import type { GuestKit } from "../../guest/guest-kit.ts";
import type { TemplateModel, TemplateOnDisk } from "../../guest/templates.ts";
import type { Field } from "../../guest/frames.ts";
import { unlimited } from "../../schema/resources.ts";
import { bareSpec } from "../bare-spec.ts";
import type { PrepareRequest } from "../driver.ts";
import type { JailParts } from "./jail.ts";
import type { MachinePool } from "./machine-pool.ts";
import { inJail, placeFields } from "./machine-spec.ts";
import { idleMs, maxTemplates } from "./pool-plan.ts";
import type { DriverParts } from "./qemu-driver.ts";
import type { TemplateMaker, TemplateRequest } from "./template-maker.ts";

/** Where the engine has its instances' directories and control groups. */
export interface InstancePlaces {
  readonly runRoot: string;
  readonly cgroupParent: string;
}

export interface PoolResumption {
  readonly parts: Omit<DriverParts, "collect">;
  readonly maker: Pick<TemplateMaker, "keyOf">;
  readonly pool: Pick<MachinePool, "size" | "used">;
  readonly places: InstancePlaces;
}

/** Tells the pool of the templates that were in use, least recently used first. Makes and downloads nothing that is not there. */
export async function resumePool(ctx: OpContext, { parts, maker, pool, places }: PoolResumption): Promise<void> {
  if (pool.size === 0 || parts.missing().length > 0) return;
  const recent = parts.templates
    .list()
    .filter(({ usedMs }) => Date.now() - usedMs < idleMs)
    .toSorted((a, b) => a.usedMs - b.usedMs)
    .slice(-maxTemplates);
  if (recent.length === 0 || (await parts.currentKit()) === undefined) return;
  const [kit, { kind }, blank] = await Promise.all([parts.kit(ctx), parts.acceleration(ctx), parts.blankDisk(ctx)]);
  for (const template of recent) {
    ctx.signal.throwIfAborted();
    const model = parts.templates.modelOf(template.key);
    const image = parts.imagePath(template.image);
    if (model === undefined || !existsSync(image)) continue;
    const fields = asTold(model);
    if (!fields.some(([name, value]) => name === "accel" && value === kind)) continue;
    const of = { vmm: parts.vmm, kernel: kit.kernel, initrd: kit.initrd, image, blank, kvm: kind === "kvm" };
    const like = await machineLike(maker, kit, { template, model, fields, parts: of, places });
    const scratch = (path: string) => parts.scratchDisk(path, inJail.blank);
    if (like !== undefined) pool.used({ ...like, scratch }, Date.now() - template.usedMs);
  }
}

/** Undefined when a machine that is started now would not come from the template. */
async function machineLike(
  maker: Pick<TemplateMaker, "keyOf">,
  kit: GuestKit,
  made: {
    readonly template: TemplateOnDisk;
    readonly model: TemplateModel;
    readonly fields: readonly Field[];
    readonly parts: Omit<JailParts, "spec" | "scratch" | "runDir" | "shares">;
    readonly places: InstancePlaces;
  },
): Promise<Omit<TemplateRequest, "scratch"> | undefined> {
  // Of each that is made, its own.
  const parts: JailParts = { ...made.parts, spec: "", scratch: "", runDir: "", shares: [] };
  const fitting = await maker.keyOf(made.fields, { kit: kit.digest, parts });
  if (fitting?.key !== made.template.key) return undefined;
  return { ...fitting, request: requestOf(made.model, made.places), fields: made.fields, parts };
}

/** As a machine is told it, of which a template knows no more than this. */
function asTold({ fields }: TemplateModel): readonly Field[] {
  return [...placeFields, ...fields.map(([name, value]): Field => [name.replace(/^prepare\./, "run."), value])];
}

/** Of nobody: what waits has no more of an instance than its size. */
function requestOf({ memory }: TemplateModel, { runRoot, cgroupParent }: InstancePlaces): PrepareRequest {
  const id = newId();
  const dir = join(runRoot, "instances", id);
  return {
    id,
    spec: { ...bareSpec, isolation: "vm", name: "", image: "", resources: { ...unlimited, memory } },
    dir,
    dataDir: dir,
    chainId: "",
    rootfs: "",
    mounts: [],
    hostname: "",
    namespaces: { network: "private", pid: "private", ipc: "private", uts: "private", cgroup: "private" },
    interfaces: [],
    endpoints: [],
    cgroupPath: `${cgroupParent}/${id}`,
    logPath: "",
  };
}
