/**
 * The model: what each thing can be, by what an engine has answered so far. A thing has one possible state when the last
 * operation on it was acknowledged, and several while one is under way, when its answer never came, or while something that
 * may take it away (a prune) goes on. Looking at it settles that, and tells when an engine broke its word.
 *
 * Keys are "<kind> <name>", kinds "container", "image", "network", "volume", "remote". States are words; "absent" is what is
 * never heard of, and one that ends in "*" stands for all with that beginning ("stopped:*": whatever the exit code).
 */
export class Facts {
  readonly #possible = new Map<string, ReadonlySet<string>>();
  /** How many prunes of a kind are going on. */
  readonly #prunes = new Map<string, number>();

  keys(): readonly string[] {
    return [...this.#possible.keys()];
  }

  possible(key: string): ReadonlySet<string> {
    return this.#possible.get(key) ?? new Set(["absent"]);
  }

  /** Its state, when there is no doubt. */
  certain(key: string): string | undefined {
    const [only, ...more] = this.possible(key);
    return more.length > 0 || only?.endsWith("*") ? undefined : only;
  }

  /** An operation begins that could make it any of these. */
  doubt(key: string, ...states: readonly string[]): void {
    this.#possible.set(key, new Set([...this.possible(key), ...states]));
  }

  /** An operation was acknowledged: it is (one of) these now. */
  know(key: string, ...states: readonly string[]): void {
    const pruned = (this.#prunes.get(kindOf(key)) ?? 0) > 0 && states.some((state) => isPrunable(kindOf(key), state));
    this.#possible.set(key, new Set(pruned ? [...states, ...goneStates] : states));
  }

  /** It was looked at. Says what is wrong with that, if something is; what was seen is believed from then on. */
  observe(key: string, seen: string): string | undefined {
    const possible = this.possible(key);
    this.know(key, seen);
    if (seen === "removing") this.doubt(key, "absent");
    const agrees = [...possible].some((state) =>
      state.endsWith("*") ? seen.startsWith(state.slice(0, -1)) : state === seen,
    );
    return agrees ? undefined : `${key} should be ${[...possible].join(" or ")}, but is ${seen}`;
  }

  /** From here until it is disposed, everything of this kind that nobody uses may vanish. */
  prune(kind: string): Disposable {
    this.#prunes.set(kind, (this.#prunes.get(kind) ?? 0) + 1);
    for (const [key, states] of this.#possible) {
      if (kindOf(key) === kind && [...states].some((state) => isPrunable(kind, state))) this.doubt(key, ...goneStates);
    }
    return { [Symbol.dispose]: () => void this.#prunes.set(kind, (this.#prunes.get(kind) ?? 1) - 1) };
  }
}

/** What a prune makes of a thing: a container with volumes of its own is seen on its way, too. */
const goneStates = ["removing", "absent"];

function kindOf(key: string): string {
  return key.slice(0, key.indexOf(" "));
}

/** Whether a prune of its kind may take a thing of this state: whatever is not in use by its state alone. */
function isPrunable(kind: string, state: string): boolean {
  if (kind === "container") return state === "created" || state.startsWith("stopped:");
  return state !== "absent";
}
