import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Quantities, resourceNames } from "../schema/capacity.ts";
import { allocated, type Claim, left, mergeClaims, shortfalls } from "./account.ts";
import { nothing } from "./quantities.ts";

const amount = fc.nat({ max: 1000 });
const quantities: fc.Arbitrary<Quantities> = fc.record({ cpu: amount, memory: amount, pids: amount, disk: amount });
const claimBy = (id: fc.Arbitrary<string>): fc.Arbitrary<Claim> =>
  fc.record({
    owner: fc.record({ kind: fc.constant("container"), id, name: id }),
    request: quantities,
    unbounded: fc.constant([]),
  });
const claim = claimBy(fc.constantFrom("a", "b", "c", "d", "e", "f"));
const claims = fc.array(claim, { maxLength: 12 });

const memory = (id: string, bytes: number): Claim => ({
  owner: { kind: "container", id, name: id },
  request: { ...nothing, memory: bytes },
  unbounded: [],
});

describe("the arithmetic", () => {
  it("has left + allocated = limit, whatever is claimed", () => {
    fc.assert(
      fc.property(quantities, claims, (limits, all) => {
        const merged = mergeClaims(all);
        const [taken, free] = [allocated(merged), left(limits, merged)];
        for (const resource of resourceNames) expect(taken[resource] + free[resource]).toBe(limits[resource]);
      }),
    );
  });

  it("counts every owner once, with the greater of what is claimed for him", () => {
    fc.assert(
      fc.property(claims, (all) => {
        const merged = mergeClaims(all);
        expect(new Set(merged.map(({ owner }) => owner.id)).size).toBe(merged.length);
        for (const { owner, request } of merged) {
          const own = all.filter((each) => each.owner.id === owner.id);
          for (const resource of resourceNames) {
            expect(request[resource]).toBe(Math.max(...own.map((each) => each.request[resource])));
          }
        }
      }),
    );
  });

  it("never promises more than the limit, in whatever order starts and ends come", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("start" as const), claim }),
      fc.record({ kind: fc.constant("end" as const), claim }),
    );
    fc.assert(
      fc.property(quantities, fc.array(step, { maxLength: 40 }), (limits, steps) => {
        let held: readonly Claim[] = [];
        for (const { kind, claim } of steps) {
          const others = held.filter(({ owner }) => owner.id !== claim.owner.id);
          if (kind === "end") held = others;
          else if (shortfalls(limits, held, claim).length === 0) held = [...others, claim];
          for (const resource of resourceNames) expect(left(limits, held)[resource]).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  it("tells what would fit: that is admitted, and one more is not", () => {
    fc.assert(
      fc.property(quantities, claims, claimBy(fc.constant("new")), (limits, all, wanted) => {
        const merged = mergeClaims(all);
        const short = shortfalls(limits, merged, wanted);
        for (const { resource, asked, fits } of short) {
          expect(fits).toBeLessThan(asked);
          const asking = (value: number) => ({ ...wanted, request: { ...nothing, [resource]: value } });
          expect(shortfalls(limits, merged, asking(fits))).toEqual([]);
          expect(shortfalls(limits, merged, asking(fits + 1))).toHaveLength(1);
        }
      }),
    );
  });

  it("never refuses an owner what he holds already, be it beyond the limit", () => {
    fc.assert(
      fc.property(quantities, claims, (limits, all) => {
        const merged = mergeClaims(all);
        for (const each of merged) expect(shortfalls(limits, merged, each)).toEqual([]);
      }),
    );
  });

  it("names the other holders, the largest first", () => {
    const all = [memory("small", 10), memory("big", 70), memory("none", 0), memory("web", 5)];
    expect(shortfalls({ ...nothing, memory: 100 }, all, memory("web", 30))).toEqual([
      {
        resource: "memory",
        asked: 30,
        fits: 20,
        limit: 100,
        holders: [
          { owner: all[1]?.owner, amount: 70 },
          { owner: all[0]?.owner, amount: 10 },
        ],
      },
    ]);
  });
});
