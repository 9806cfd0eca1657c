/** What is wrong with the world at a time, and which errors that excuses. */
export type Condition = "engine down" | "runtime fails" | "disk full" | "registry fails" | "pruning";

interface Window {
  readonly condition: Condition;
  readonly from: number;
  until: number;
}

/** Longer ago than any operation began. */
const forgetAfterMs = 600_000;

export class Conditions {
  #windows: Window[] = [];
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** It holds from now on until it is disposed. */
  begin(condition: Condition): Disposable {
    const window: Window = { condition, from: this.#now(), until: Number.POSITIVE_INFINITY };
    this.#windows = this.#windows.filter(({ until }) => until > this.#now() - forgetAfterMs);
    this.#windows.push(window);
    return {
      [Symbol.dispose]: () => {
        window.until = Math.min(window.until, this.#now());
      },
    };
  }

  /** What held at some time between `from` and now. */
  since(from: number): ReadonlySet<Condition> {
    return new Set(this.#windows.filter(({ until }) => until >= from).map(({ condition }) => condition));
  }
}

/** An error as a client of the API sees it. */
export interface SeenError {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/** What an error has to tell, so that it is known for what it is: the fault is named, not only "500". */
const signatures: Readonly<Partial<Record<Condition, RegExp>>> = {
  // A monitor that is killed takes its container along, and a build's command with it.
  "runtime fails":
    /returned a non-zero code: (137|255)|OCI runtime|(create|start|exec|kill|restore|signal|update) task|runtime|conmon|monitor|did not end within|ended (at once|before)/i,
  // A build's own command meets the full disk by itself, and says so by its code.
  "disk full": /no space left|disk (is )?full|ENOSPC|returned a non-zero code/i,
  "registry fails":
    /registry|unexpected status|cannot reach|ECONN|socket hang up|wrong content|content has|transfer|manifest|terminated/i,
};

/** A status, or what "<status> <message>" has to match. */
export type Refusal = number | RegExp;

/** Whether an engine may answer this; else what is wrong with it. `expected` is what the request itself explains. */
export function faultOf(
  error: SeenError,
  during: ReadonlySet<Condition>,
  expected: readonly Refusal[],
): string | undefined {
  if (error.code === "ENGINE_UNREACHABLE" || error.status === 503) {
    return during.has("engine down") ? undefined : `the engine is gone: ${error.message}`;
  }
  const isExpected = (refusal: Refusal) =>
    typeof refusal === "number" ? refusal === error.status : refusal.test(`${error.status} ${error.message}`);
  if (expected.some(isExpected)) return undefined;
  const text = `${error.status} ${error.code} ${error.message}`;
  if (error.status < 500) {
    const raced = during.has("pruning") && (error.status === 404 || error.status === 409);
    return raced || isExcused(error, during) ? undefined : text;
  }
  return isExcused(error, during) ? undefined : text;
}

/** The disk's fault has a status of its own besides its words. */
function isExcused(error: SeenError, during: ReadonlySet<Condition>): boolean {
  if (error.status === 507) return during.has("disk full");
  return Object.entries(signatures).some(
    ([condition, words]) => [...during].some((each) => each === condition) && words.test(error.message),
  );
}
