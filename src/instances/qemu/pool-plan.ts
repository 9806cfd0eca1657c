/** What a pool of waiting machines does next: pure. */

/** A template that machines have been started from, and what waits of it. */
export interface PooledTemplate {
  readonly key: string;
  readonly usedMs: number;
  /** Bytes that the ledger counts for each of its waiting machines. */
  readonly memory: number;
  readonly waiting: number;
  /** Cleared when it can't be had any more: its image is gone, or its machines can't be made to wait. */
  readonly usable: boolean;
}

export interface PoolLimits {
  /** Machines that wait of each template. */
  readonly size: number;
  /** Bytes of memory that nobody has reserved. */
  readonly left: number;
  readonly nowMs: number;
}

export interface PoolPlan {
  /** How many of each template's machines go, by key. */
  readonly giveUp: ReadonlyMap<string, number>;
  /** Key of the template of which one more is to be made, now. */
  readonly fill: string | undefined;
}

/** Templates that machines wait of, the most recently used ones. */
export const maxTemplates = 8;
/** After which a template counts as not in use. */
export const idleMs = 60 * 60 * 1000;

/**
 * The most recently used template that is short of a machine gets one, where the ledger has room for it and for one more start; the
 * machines of templates used less recently give way.
 */
export function planPool(templates: readonly PooledTemplate[], { size, left, nowMs }: PoolLimits): PoolPlan {
  const byUse = templates.toSorted((a, b) => b.usedMs - a.usedMs);
  const inUse = byUse.filter(({ usable, usedMs }) => usable && nowMs - usedMs < idleMs).slice(0, maxTemplates);
  const giveUp = new Map<string, number>();
  let free = left;
  for (const { key, waiting, memory } of byUse.filter((template) => !inUse.includes(template))) {
    if (waiting === 0) continue;
    giveUp.set(key, waiting);
    free += waiting * memory;
  }
  for (const [index, { key, memory, waiting }] of inUse.entries()) {
    if (waiting >= size) continue;
    const taken = takeFrom(inUse.slice(index + 1), 2 * memory - free);
    if (taken === undefined) continue;
    for (const [other, count] of taken) giveUp.set(other, count);
    return { giveUp, fill: key };
  }
  return { giveUp, fill: undefined };
}

/** Machines that together have as many bytes, those of the least recently used template first; undefined when there are not enough. */
function takeFrom(templates: readonly PooledTemplate[], bytes: number): ReadonlyMap<string, number> | undefined {
  const taken = new Map<string, number>();
  let short = bytes;
  for (const { key, memory, waiting } of templates.toReversed()) {
    if (short <= 0) break;
    const count = Math.min(waiting, Math.ceil(short / memory));
    if (count > 0) taken.set(key, count);
    short -= count * memory;
  }
  return short <= 0 ? taken : undefined;
}
