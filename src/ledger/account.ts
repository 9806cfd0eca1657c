/**
 * The ledger's arithmetic: allocated = Σ requests, left = limit − allocated, and what a request is short of. Pure.
 *
 * INVARIANTS
 *  - left + allocated = limit, for every resource, whatever the claims; left is negative when they are beyond the policy.
 *  - What fits is admitted, and what is admitted never makes `left` negative where it was not.
 *  - Nobody is short of what he holds already: only growth can be refused.
 */
import { type Owner, type Quantities, type ResourceName, resourceNames } from "../schema/capacity.ts";
import { greater, eachResource, sum } from "./quantities.ts";

/** What an owner reserves. */
export interface Claim {
  readonly owner: Owner;
  readonly request: Quantities;
  /** Resources that it neither requests nor is limited in. */
  readonly unbounded: readonly ResourceName[];
}

/** A resource of which a claim wants more than is left. */
export interface Shortfall {
  readonly resource: ResourceName;
  readonly asked: number;
  /** The most that it could ask for now. */
  readonly fits: number;
  readonly limit: number;
  /** The others, the largest first. */
  readonly holders: readonly { readonly owner: Owner; readonly amount: number }[];
}

/** One claim for each owner: where several speak for one (a start under way, a changed request), the greater counts. */
export function mergeClaims(claims: Iterable<Claim>): readonly Claim[] {
  const merged = new Map<string, Claim>();
  for (const claim of claims) {
    const key = ownerKey(claim.owner);
    const known = merged.get(key);
    merged.set(key, known === undefined ? claim : { ...claim, request: greater(known.request, claim.request) });
  }
  return [...merged.values()];
}

export function allocated(claims: readonly Claim[]): Quantities {
  return sum(claims.map(({ request }) => request));
}

export function left(limits: Quantities, claims: readonly Claim[]): Quantities {
  const taken = allocated(claims);
  return eachResource((resource) => limits[resource] - taken[resource]);
}

/** What keeps `claim` from being admitted beside `claims` (merged); empty when it fits. */
export function shortfalls(limits: Quantities, claims: readonly Claim[], claim: Claim): readonly Shortfall[] {
  const key = ownerKey(claim.owner);
  const others = claims.filter(({ owner }) => ownerKey(owner) !== key);
  const own = claims.find(({ owner }) => ownerKey(owner) === key);
  const free = left(limits, others);
  return resourceNames.flatMap((resource): readonly Shortfall[] => {
    const asked = claim.request[resource];
    if (asked <= free[resource] || asked <= (own?.request[resource] ?? 0)) return [];
    const holders = others
      .map(({ owner, request }) => ({ owner, amount: request[resource] }))
      .filter(({ amount }) => amount > 0)
      .toSorted((a, b) => b.amount - a.amount);
    return [{ resource, asked, fits: Math.max(0, free[resource]), limit: limits[resource], holders }];
  });
}

function ownerKey({ kind, id }: Owner): string {
  return `${kind} ${id}`;
}
