import type { CacheEntry } from "./wire/control.ts";
import type { Decoded } from "./wire/message.ts";

/** The one front end that is here. */
export const dockerfileFrontend = "dockerfile.v0";

/** What a client asks a front end for, on either of the two ways to it. */
export interface FrontendRequest {
  readonly frontend: string;
  readonly options: Readonly<Record<string, string>>;
  /** Build graphs, by the names that `context:` has for them. */
  readonly inputs: Readonly<Record<string, Uint8Array>>;
  /** `--cache-from`. */
  readonly imports: readonly Partial<Decoded<typeof CacheEntry>>[];
}
