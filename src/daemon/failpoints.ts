import { failpointCatalogue } from "../host/failpoint-catalogue.ts";
import { failpointSpecHelp } from "../host/failpoint-spec.ts";
import { daemonErrors } from "./errors.ts";

/** `berth failpoints`: where an engine can be made to die or to fail, one line for each place. */
export function failpointsCommand(words: readonly string[]): number {
  const [word] = words;
  if (word === "--help" || word === "-h") {
    process.stdout.write(
      `Usage: berth failpoints\n\nList the places where a test can kill the engine or make it fail. Not for an engine in use.\n\n${failpointSpecHelp}`,
    );
    return 0;
  }
  if (word !== undefined) throw daemonErrors.FLAG_INVALID({ reason: `'${word}' is nothing berth failpoints takes` });
  const width = Math.max(...[...failpointCatalogue.keys()].map((name) => name.length));
  for (const [name, text] of failpointCatalogue) process.stdout.write(`${name.padEnd(width)}  ${text}\n`);
  return 0;
}
