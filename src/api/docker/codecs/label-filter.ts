/** Docker's label filters: "name" or "name=value"; all must match. */
export function matchesLabels(labels: Readonly<Record<string, string>>, wanted: readonly string[]): boolean {
  return wanted.every((filter) => {
    const at = filter.indexOf("=");
    const name = at === -1 ? filter : filter.slice(0, at);
    const value = labels[name];
    return value !== undefined && (at === -1 || value === filter.slice(at + 1));
  });
}
