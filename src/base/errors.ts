/**
 * The error catalogue's machinery. Each room keeps its own table (`src/<room>/errors.ts`), made with
 * {@link defineErrors}; a transport maps a {@link BerthError} once, from `status`.
 */

/** One row of a catalogue. `P` is what the message needs to name the thing, the reason and the way out. */
export interface ErrorEntry<P> {
  /** HTTP status that a transport answers with. */
  readonly status: number;
  readonly message: (params: P) => string;
  /** What the user can do about it; printed under the message. */
  readonly hint?: (params: P) => string;
}

export interface ErrorOptions {
  /** What caused it; kept in the chain for the log, never sent to a client. */
  readonly cause?: unknown;
}

/** Every error that Berth raises on purpose. Anything else that reaches a transport is a bug and answers 500. */
export class BerthError extends Error {
  /** Stable, upper-case, unique over all catalogues, e.g. `IMAGE_NOT_FOUND`. */
  readonly code: string;
  readonly status: number;
  readonly hint: string | undefined;

  constructor(code: string, status: number, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BerthError";
    this.code = code;
    this.status = status;
    this.hint = hint;
  }
}

/** For each row, the function that makes its error. */
type Raisers<P> = { readonly [K in keyof P]: (params: P[K], options?: ErrorOptions) => BerthError };

/**
 * Makes one function for each row: `throw imageErrors.IMAGE_NOT_FOUND({ ref })`.
 * Give each row's `message` a typed parameter; `hint` takes the same.
 */
export function defineErrors<P extends object>(entries: { readonly [K in keyof P]: ErrorEntry<P[K]> }): Raisers<P> {
  const raiser =
    <K extends keyof P & string>(code: K, entry: ErrorEntry<P[K]>) =>
    (params: P[K], options?: ErrorOptions) =>
      new BerthError(code, entry.status, entry.message(params), entry.hint?.(params), options);
  const raisers: Record<string, unknown> = {};
  for (const code of Object.keys(entries) as (keyof P & string)[]) raisers[code] = raiser(code, entries[code]);
  return raisers as Raisers<P>;
}

/** Whether `error` is a {@link BerthError} of one of these codes. */
export function isBerthError(error: unknown, ...codes: readonly string[]): error is BerthError {
  return error instanceof BerthError && (codes.length === 0 || codes.includes(error.code));
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
