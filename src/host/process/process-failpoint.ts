import { basename } from "node:path";
import type { FailpointName } from "../failpoint-catalogue.ts";

/** The failpoint in front of starting a program. */
export function pointOf(argv: readonly string[]): FailpointName {
  const [program = "", ...words] = argv;
  const name = basename(program);
  if (wrappers.has(name)) return pointOf(words.slice(words.indexOf("--") + 1));
  const known = programs[name];
  if (known !== undefined) return known;
  if (name === "conmon") return words.includes("--exec-process-spec") ? "process.conmon.exec" : "process.conmon";
  if (words.includes("--process")) return "process.runtime.exec";
  // Runtimes go by many names: what one is told to start is a bundle's id, the last word.
  return words.at(-2) === "start" ? "process.runtime.start" : "process.other";
}

/** They become the program behind "--". */
const wrappers: ReadonlySet<string> = new Set(["nsenter", "prlimit", "setpriv"]);

const programs: Readonly<Record<string, FailpointName>> = {
  bzip2: "process.decompress",
  dnsmasq: "process.dnsmasq",
  git: "process.git",
  ip6tables: "process.iptables",
  iptables: "process.iptables",
  mmdebstrap: "process.mmdebstrap",
  nft: "process.nft",
  "qemu-img": "process.qemu-img",
  sync: "process.sync",
  xz: "process.decompress",
};
