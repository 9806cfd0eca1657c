/** What the machine has, who reserves how much of it, and what is used now: the ledger's words, and the API's. */
import { type Static, Type } from "typebox";

export const ResourceName = Type.Union([
  Type.Literal("cpu"),
  Type.Literal("memory"),
  Type.Literal("pids"),
  Type.Literal("disk"),
]);
export type ResourceName = Static<typeof ResourceName>;

/** In the order in which they are shown. */
export const resourceNames: readonly ResourceName[] = ["cpu", "memory", "pids", "disk"];

/** One amount of each resource, in whole units. */
export const Quantities = Type.Object({
  cpu: Type.Integer({ description: "Billionths of a CPU" }),
  memory: Type.Integer({ description: "Bytes" }),
  pids: Type.Integer({ description: "Processes and threads" }),
  disk: Type.Integer({ description: "Bytes under the data root" }),
});
export type Quantities = Static<typeof Quantities>;

/** Who holds something; the ledger asks no more of it than a name to call it by. */
export const Owner = Type.Object({
  kind: Type.String({
    description: "container, vm, build for a build's step, or pool for a machine that waits and is given up first",
  }),
  id: Type.String(),
  name: Type.String(),
});
export type Owner = Static<typeof Owner>;

export const ResourceCapacity = Type.Object({
  resource: ResourceName,
  total: Type.Integer({ description: "What the machine has" }),
  reserved: Type.Integer({ description: "Kept back for the host itself" }),
  ratio: Type.Number({ description: "Over-commit: how often the rest may be promised" }),
  limit: Type.Integer({ description: "(total - reserved) x ratio: what may be allocated" }),
  allocated: Type.Integer({ description: "Sum of the requests" }),
  left: Type.Integer({ description: "limit - allocated; negative when over-committed beyond the policy" }),
  shared: Type.Union([Type.Integer(), Type.Null()], {
    description: "Held by two or more at once and counted once; null where nothing can be shared",
  }),
  inUse: Type.Union([Type.Integer(), Type.Null()], {
    description: "Used now by this engine's instances; null where only --verbose measures it",
  }),
  machineInUse: Type.Integer({ description: "Used now by everything on the machine" }),
});
export type ResourceCapacity = Static<typeof ResourceCapacity>;

export const Holder = Type.Object({
  owner: Owner,
  request: Quantities,
  unbounded: Type.Array(ResourceName, { description: "Neither requested nor limited: reserves nothing, may take all" }),
  inUse: Type.Optional(Quantities),
});
export type Holder = Static<typeof Holder>;

/** Something that two or more instances or images use, counted once. */
export const SharedThing = Type.Object({
  kind: Type.Union([Type.Literal("layer"), Type.Literal("volume")]),
  name: Type.String({ description: "Chain id, or the volume's name" }),
  disk: Type.Integer({ description: "Bytes" }),
  users: Type.Integer(),
});
export type SharedThing = Static<typeof SharedThing>;

/** `GET /berth/v1/capacity`. Quantities in the units of {@link Quantities}. */
export const CapacityReport = Type.Object({
  resources: Type.Array(ResourceCapacity),
  holders: Type.Array(Holder, { description: "Largest memory request first" }),
  shared: Type.Array(SharedThing, { description: "Largest first" }),
});
export type CapacityReport = Static<typeof CapacityReport>;
