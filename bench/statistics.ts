/** What can be said of a few noisy samples: order statistics only, so that one slow sample of a busy machine moves little. */

export interface Summary {
  readonly count: number;
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly min: number;
  readonly max: number;
}

/** Undefined without samples. */
export function summarize(values: readonly number[]): Summary | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  return {
    count: sorted.length,
    median: quantile(sorted, 0.5),
    lowerQuartile: quantile(sorted, 0.25),
    upperQuartile: quantile(sorted, 0.75),
    min: quantile(sorted, 0),
    max: quantile(sorted, 1),
  };
}

/** Between the two nearest samples, linearly. `sorted` ascends and is not empty. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** An estimate and where the true value lies with the stated confidence (0 to 1). */
export interface Interval {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  readonly confidence: number;
}

/**
 * The median of the ratios of samples that were taken in the same round, so that a slow minute of the machine falls on both sides
 * of a ratio; with the interval that {@link medianInterval} gives. A round that misses a side is left out; undefined without any.
 */
export function pairedRatio(
  numerators: readonly (number | undefined)[],
  denominators: readonly (number | undefined)[],
): Interval | undefined {
  const ratios = numerators.flatMap((value, round) => {
    const base = denominators[round];
    return value === undefined || base === undefined || base === 0 ? [] : [value / base];
  });
  return medianInterval(ratios);
}

/**
 * The median with the narrowest interval of order statistics that covers it with 95 % (by the sign test: no distribution is
 * assumed). Fewer than six samples can't reach that: then it is their whole range, with the confidence that the range has.
 */
export function medianInterval(values: readonly number[], confidence = 0.95): Interval | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  let cut = 0;
  while (cut + 1 < count / 2 && coverage(count, cut + 1) >= confidence) cut++;
  return {
    estimate: quantile(sorted, 0.5),
    low: sorted[cut] ?? Number.NaN,
    high: sorted[count - 1 - cut] ?? Number.NaN,
    confidence: coverage(count, cut),
  };
}

/** How likely the median lies between the sample after the `cut` lowest and the one before the `cut` highest. */
function coverage(count: number, cut: number): number {
  let outside = 0;
  let ways = 1; // binomial(count, 0)
  for (let k = 0; k <= cut; k++) {
    outside += ways / 2 ** count;
    ways = (ways * (count - k)) / (k + 1);
  }
  return 1 - 2 * outside;
}

/**
 * The ratio of two medians of samples that don't pair (two runs), with a 95 % interval by bootstrap. The pseudo-random draws have a
 * fixed seed: the same samples always get the same answer. Undefined when a side has no samples.
 */
export function unpairedRatio(numerators: readonly number[], denominators: readonly number[]): Interval | undefined {
  const above = summarize(numerators);
  const below = summarize(denominators);
  if (above === undefined || below === undefined || below.median === 0) return undefined;
  const random = mulberry32(0x5eed);
  const ratios: number[] = [];
  for (let draw = 0; draw < 2000; draw++) {
    const ratio = medianOfDraw(numerators, random) / medianOfDraw(denominators, random);
    if (Number.isFinite(ratio)) ratios.push(ratio);
  }
  const sorted = ratios.toSorted((a, b) => a - b);
  return {
    estimate: above.median / below.median,
    low: quantile(sorted, 0.025),
    high: quantile(sorted, 0.975),
    confidence: 0.95,
  };
}

function medianOfDraw(values: readonly number[], random: () => number): number {
  const drawn = values.map(() => values[Math.floor(random() * values.length)] ?? Number.NaN);
  return quantile(
    drawn.sort((a, b) => a - b),
    0.5,
  );
}

/** A small generator of numbers in [0, 1) with a seed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
