/** What the host's links have carried. */
export interface LinkTraffic {
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** By name, from /proc/net/dev (two lines of headings, then "name: " and eight counters each way; bytes come first). Pure. */
export function parseLinkTraffic(text: string): ReadonlyMap<string, LinkTraffic> {
  const traffic = new Map<string, LinkTraffic>();
  for (const line of text.split("\n").slice(2)) {
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const counters = line
      .slice(colon + 1)
      .trim()
      .split(/ +/, 9);
    traffic.set(line.slice(0, colon).trim(), { receivedBytes: Number(counters[0]), sentBytes: Number(counters[8]) });
  }
  return traffic;
}
