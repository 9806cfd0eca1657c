import { describe, expect, it } from "vitest";
import { BerthError } from "../base/errors.ts";
import type { Quantities } from "../schema/capacity.ts";
import type { Claim } from "./account.ts";
import { Ledger } from "./ledger.ts";
import { limitsOf, policyOf } from "./policy.ts";
import { nothing } from "./quantities.ts";

const GiB = 1024 ** 3;
const policy = policyOf({
  overcommitCpu: 2,
  overcommitMemory: 1,
  overcommitPids: 1,
  overcommitDisk: 2,
  reservedMemory: "1g",
  reservedDisk: "0",
});
const totals: Quantities = { cpu: 2e9, memory: 5 * GiB, pids: 1000, disk: 10 * GiB };

function claim(name: string, request: Partial<Quantities>): Claim {
  return { owner: { kind: "container", id: name, name }, request: { ...nothing, ...request }, unbounded: [] };
}

/** A ledger over records that the test keeps. */
function ledgerOver(records: Claim[]): Ledger {
  return new Ledger({ totals: () => totals, policy, claims: () => records });
}

function refusal(work: () => unknown): BerthError {
  try {
    work();
  } catch (error) {
    if (error instanceof BerthError) return error;
    throw error;
  }
  throw new Error("it was admitted");
}

describe("the policy", () => {
  it("keeps back what the host needs, then promises the rest as often as the ratio says", () => {
    expect(limitsOf(totals, policy)).toEqual({ cpu: 4e9, memory: 4 * GiB, pids: 1000, disk: 20 * GiB });
    expect(limitsOf({ ...totals, memory: GiB / 2 }, policy).memory).toBe(0);
  });
});

describe("admission", () => {
  it("lets one of two in that fit alone and not together, and the other once that has gone", () => {
    const records: Claim[] = [];
    const ledger = ledgerOver(records);
    const hold = ledger.admit(claim("a", { memory: 3 * GiB }));
    expect(refusal(() => ledger.admit(claim("b", { memory: 2 * GiB }))).code).toBe("CAPACITY_SHORT");
    hold[Symbol.dispose]();
    ledger.admit(claim("b", { memory: 2 * GiB }));
  });

  it("asks for what is given up for it, as long as that helps, and only then refuses", () => {
    const records = [
      claim("waits 1", { memory: GiB }),
      claim("waits 2", { memory: GiB }),
      claim("runs", { memory: GiB }),
    ];
    const asked: number[] = [];
    const ledger = new Ledger({
      totals: () => totals,
      policy,
      claims: () => records,
      giveUp: ([short]) => {
        asked.push((short?.asked ?? 0) - (short?.fits ?? 0));
        return records[0]?.owner.name.startsWith("waits") === true && records.shift() !== undefined;
      },
    });
    expect(ledger.left().memory).toBe(GiB);
    using _fits = ledger.admit(claim("a", { memory: GiB }));
    expect(asked).toEqual([]);
    using _hold = ledger.admit(claim("b", { memory: 2 * GiB }));
    expect(asked).toEqual([2 * GiB, GiB]);
    expect(refusal(() => ledger.admit(claim("c", { memory: 1 }))).code).toBe("CAPACITY_SHORT");
  });

  it("counts a start that has come to its record once", () => {
    const records: Claim[] = [];
    const ledger = ledgerOver(records);
    using _hold = ledger.admit(claim("a", { memory: 2 * GiB }));
    records.push(claim("a", { memory: 2 * GiB }));
    expect(ledger.claims()).toHaveLength(1);
    ledger.admit(claim("b", { memory: 2 * GiB }));
  });

  it("takes a raise for its difference, and a lower request also beyond the limit", () => {
    const ledger = ledgerOver([claim("a", { memory: 3 * GiB }), claim("b", { memory: 2 * GiB })]);
    ledger.admit(claim("a", { memory: 1 * GiB }))[Symbol.dispose]();
    ledger.admit(claim("a", { memory: 3 * GiB }))[Symbol.dispose]();
    expect(refusal(() => ledger.admit(claim("a", { memory: 3 * GiB + 1 }))).message).toContain("2 GiB are left");
  });

  it("says what is short, who holds it, and what would fit", () => {
    const ledger = ledgerOver([
      claim("web", { memory: 2 * GiB, cpu: 1e9 }),
      claim("cache", { memory: GiB }),
      claim("logs", { memory: 256 * 1024 ** 2 }),
      claim("cron", { memory: 256 * 1024 ** 2 }),
    ]);
    const error = refusal(() => ledger.admit(claim("db", { memory: 2 * GiB, cpu: 1e9 })));
    expect(error.status).toBe(409);
    expect(error.message).toBe(
      "not enough capacity for container db: it asks for 2 GiB of memory, but 512 MiB are left of the 4 GiB that may be reserved " +
        "(over-commit 1), held by web (2 GiB), cache (1 GiB), logs (256 MiB) and 1 more. 512 MiB of memory would fit: stop web, " +
        "lower --memory (or reserve less of it with --memory-reservation), or start the engine with a higher --overcommit-memory",
    );
  });

  it("names every resource that is short", () => {
    const error = refusal(() => ledgerOver([]).admit(claim("db", { cpu: 8e9, disk: 40 * GiB })));
    expect(error.message).toContain("8 CPUs of CPU time, but 4 CPUs are left");
    expect(error.message).toContain("40 GiB of disk space, but 20 GiB are left");
    expect(error.message).not.toContain("held by");
  });
});
