import { syntaxError } from "./errors.ts";

/** "80", "53/udp", "8000-8010" as "80/tcp", …; ranges become one entry for each port. */
export function exposedPorts(spec: string): readonly string[] {
  // "host:container" was once allowed; only the container's part counts.
  const containerPart = spec.slice(spec.lastIndexOf(":") + 1);
  const [range = "", protocol = "tcp", ...more] = containerPart.split("/");
  const kind = (protocol === "" ? "tcp" : protocol).toLowerCase();
  if (range === "") syntaxError(`no port specified: ${spec}<empty>`);
  if (!["tcp", "udp", "sctp"].includes(kind) || more.length > 0) {
    syntaxError(`invalid proto: ${[protocol, ...more].join("/")}`);
  }
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first > last || last > 65_535 || first === 0) syntaxError(`invalid containerPort: ${range}`);
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${kind}`);
}
