import type { Quantities } from "../schema/capacity.ts";
import { type Claim, left, mergeClaims, type Shortfall, shortfalls } from "./account.ts";
import { ledgerErrors } from "./errors.ts";
import { limitsOf, type Policy } from "./policy.ts";
import { isNothing } from "./quantities.ts";

export interface LedgerOptions {
  /** What the machine has; asked at every admission, so cheap. */
  readonly totals: () => Quantities;
  readonly policy: Policy;
  /** What is reserved by what runs and is kept, from the records of those who do: there is no other book. */
  readonly claims: () => Iterable<Claim>;
  /**
   * Asked when a claim is short of something: to give up a claim for it, at once, that nobody waits for. False when there is none (any
   * more) whose end would help.
   */
  readonly giveUp?: (short: readonly Shortfall[]) => boolean;
}

/**
 * Who reserves how much of this machine, and whether something more fits.
 *
 * INVARIANTS
 *  - Nothing is stored here: claims are derived from the records, so that a killed engine's successor comes to the same sum.
 *  - A hold covers the time between an admission and the record that shows it. Checking and holding are one synchronous step: of
 *    two starts that each fit but not together, the second is refused.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #holds = new Set<Claim>();

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  get policy(): Policy {
    return this.#options.policy;
  }

  totals(): Quantities {
    return this.#options.totals();
  }

  /** What may be allocated in all. */
  limits(): Quantities {
    return limitsOf(this.totals(), this.policy);
  }

  /** One claim for each owner: what the records say, and what is being started. */
  claims(): readonly Claim[] {
    return mergeClaims([...this.#options.claims(), ...this.#holds]);
  }

  /** Of the limits, what nobody has reserved; negative where they are over-committed. */
  left(): Quantities {
    return left(this.limits(), this.claims());
  }

  /**
   * Reserves for `claim` until the hold is disposed: by then its record says so itself, or it came to nothing. Takes the place of
   * what its owner holds already, of which it can't be short. `CAPACITY_SHORT` says what is short, who holds it, and what would fit.
   */
  admit(claim: Claim): Disposable {
    // Most state nothing: they are not to wait for the sum of all others.
    const shortNow = () => (isNothing(claim.request) ? [] : shortfalls(this.limits(), this.claims(), claim));
    let short = shortNow();
    while (short.length > 0 && this.#options.giveUp?.(short) === true) short = shortNow();
    if (short.length > 0) throw ledgerErrors.CAPACITY_SHORT({ owner: claim.owner, short, ratio: this.policy.ratio });
    const hold = { ...claim };
    this.#holds.add(hold);
    return { [Symbol.dispose]: () => void this.#holds.delete(hold) };
  }
}
