/** docs/benchmarks.md: the table, and all that is needed to judge or repeat it. */
import type { EngineFacts, Machine } from "./machine.ts";
import type { Results } from "./results.ts";
import { markdownTable } from "./table.ts";

export interface ReportFacts {
  /** Words after `npm run bench --`; hosts left out, since they say nothing to others. */
  readonly command: string;
  readonly date: string;
  readonly rounds: number;
  readonly machine: Machine;
  readonly engines: readonly EngineFacts[];
}

export function markdownReport(results: Results, facts: ReportFacts): string {
  const { machine, engines } = facts;
  return `# Benchmarks

Written by \`npm run bench\`; don't edit it by hand. In every round each engine has its turn, and another one is the first, so that whatever
else the machine does falls on all of them. Figures are medians with quartiles in brackets; a ratio is the median of the ratios within each
round, with the interval that covers it with 95 % by order statistics (with fewer than six rounds, all that was seen). Berth runs as built,
with its default settings (the same durability and isolation as in the tests) on a private data root. Ratios say more than milliseconds.

- Command: \`npm run bench -- ${facts.command}\`, ${facts.date}
- Machine: ${machine.cpu}, ${machine.cpus} CPUs, ${machine.memoryGiB} GiB; ${machine.system}, kernel ${machine.kernel}, cgroups ${machine.cgroups}; load before: ${machine.load.join(", ")}
- Client: ${machine.dockerClient}
${engines.map((engine) => `- ${engine.name}: ${engine.version}, runtime ${engine.runtime}, storage ${engine.storage} on ${engine.fileSystem}`).join("\n")}

${markdownTable(
  results,
  engines.map(({ name }) => name),
)}
${failureNotes(results)}
## What is measured
- **Through the client**: from before the start of the \`docker\` client to its end; "the client alone" is what that costs without any engine.
- **Raw API**: over kept connections to the same socket, from before the request to the end of the answer.
- **Memory**: the process that listens on the socket, its descendants, and the parent of each container's first process (conmon,
  containerd-shim); never the workload. PSS divides shared pages among those who share them.
- **Machines**: \`--only vm,vmpool,vmfleet,vmcold\`. A machine is timed as a container is; the peers' figure beside it is that of a container.
  "From a pool" is an engine with \`--machine-pool 1\`, whose pool is full again before anybody's next turn.
  QEMU alone has the machine's line, kernel and disks, sockets for descriptors, and its own network for a tap.
- \`--against FILE\` holds a run beside the samples (\`--json\`) of an earlier one, each relative to the peer of its own run.
`;
}

function failureNotes({ failures }: Results): string {
  if (failures.length === 0) return "";
  const counted = new Map<string, number>();
  for (const { subject, engine, reason } of failures) {
    const line = `- ${subject} on ${engine}: ${reason.replaceAll(/\s+/g, " ").slice(0, 300)}`;
    counted.set(line, (counted.get(line) ?? 0) + 1);
  }
  return `\nFailed:\n${[...counted].map(([line, count]) => (count === 1 ? line : `${line} (${count} times)`)).join("\n")}\n`;
}
