/** The runner's output as cases: one for each request of the Docker-compatible API. */
import type { CaseResult } from "../../suite.ts";

export const podmansOwn = "Podman's own API (`/libpod/`), which is not Docker's";

interface Request {
  readonly name: string;
  readonly isPodmans: boolean;
  readonly failures: string[];
}

/**
 * `file` is the test file's name without ".at". A request's first check is of its status; further ones, also those that the test
 * makes by itself of what came, belong to it until the next request.
 */
export function casesOfOutput(file: string, output: string, directories: readonly string[]): readonly CaseResult[] {
  const requests: Request[] = [];
  const counts = new Map<string, number>();
  const add = (text: string) => {
    const base = `${file}: ${stable(text, directories)}`;
    const count = (counts.get(base) ?? 0) + 1;
    counts.set(base, count);
    const request = { name: count === 1 ? base : `${base} (${count})`, isPodmans: isPodmans(text), failures: [] };
    requests.push(request);
    return request;
  };
  let current: Request | undefined;
  for (const line of output.split("\n")) {
    const [, bad, text = ""] = /^(not )?ok \d+ \[[^\]]*\] (.*)$/.exec(line) ?? [];
    if (text !== "") {
      const request = requestOf(text);
      if (request !== undefined || current === undefined) current = add(request ?? text);
      if (bad !== undefined) current.failures.push(request === undefined ? stable(text, directories) : "status");
    } else if (/^#\s+(expected|actual|response):/.test(line) && current !== undefined && current.failures.length > 0) {
      current.failures.push(stable(line.replace(/^#\s+/, ""), directories).slice(0, 300));
    } else if (line.startsWith("# broke off")) {
      current = add("the file, to its end");
      current.failures.push(line.slice(2, 500));
    }
  }
  return requests.map(({ name, isPodmans, failures }): CaseResult => {
    if (isPodmans) return { name, outcome: "skipped", reason: podmansOwn };
    if (failures.length > 0) return { name, outcome: "failed", detail: failures.join("\n") };
    return { name, outcome: "passed" };
  });
}

/** "GET images/json" of "GET images/json : status=200", the first check of a request; undefined for a check of anything else. */
function requestOf(text: string): string | undefined {
  const [, request] =
    /^((?:GET|POST|PUT|DELETE|HEAD) .*?) : status(?:=\d+)?$/.exec(text) ??
    /^((?:GET|POST|PUT|DELETE|HEAD) .*?): (?:curl timed out|expected curl)/.exec(text) ??
    [];
  return request;
}

function isPodmans(request: string): boolean {
  return /^\w+ (?:\/v[\d.]+\/|http:\/\/[^/]+\/v[\d.]+\/)?\/?libpod\//.test(request);
}

/** Without what differs from run to run: ids, ports, times, data roots, names of temporary files. */
function stable(text: string, directories: readonly string[]): string {
  return directories
    .reduce((rest, directory) => rest.replaceAll(directory, ""), text)
    .replace(/(?:\/[\w.-]+)+\/volumes\//g, "(ROOT)/volumes/")
    .replace(/test-apiv2\.tmp\.\w+/g, "(TMP)")
    .replace(/\b[0-9a-f]{64}\b/g, "(ID)")
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{12,40}\b/g, "(ID)")
    .replace(/(localhost|127\.0\.0\.1)(?::|%3A)\d{4,5}/g, "$1:(PORT)")
    .replace(/\b(since|until)=\d[\d.]*/g, "$1=(T)")
    .replace(/(ArchiveTestingCtr|"username":"u|"password":"p)\w+/g, "$1(RANDOM)");
}
