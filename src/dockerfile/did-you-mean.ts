/** " (did you mean FROM?)" when one of `options` is at most two letters away from `word`, in the word's case; else "". */
export function didYouMean(word: string, options: readonly string[]): string {
  const wanted = word.toLowerCase();
  let best = "";
  let bestDistance = 3;
  for (const option of options) {
    const distance = editDistance(wanted, option.toLowerCase());
    if (distance === 0) return "";
    if (distance < bestDistance) {
      best = option;
      bestDistance = distance;
    }
  }
  if (best === "") return "";
  return ` (did you mean ${word === wanted ? best.toLowerCase() : best}?)`;
}

/** Levenshtein distance; a length difference of 3 or more is not worth computing. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a.charAt(i - 1) === b.charAt(j - 1) ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
