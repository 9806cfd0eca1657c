import type { MachineSpec } from "../../schema/machine.ts";

/** What of disks and cards a machine has now and had not then, or the other way round, in words; memory and disks go with them. */
export function hardwareDifferences(then: MachineSpec, now: MachineSpec): readonly string[] {
  const list = (spec: MachineSpec) => [
    ...spec.disks.map(({ name, bus, readOnly }) => `the disk ${name} (${bus}${readOnly ? ", read-only" : ""})`),
    ...spec.nics.map(({ name, network, model }) => `the network card ${name} (${model}, ${network})`),
    ...spec.cdroms.map(({ name }) => `the drive ${name}`),
  ];
  const had = list(then);
  const has = list(now);
  return [
    ...has.filter((each) => !had.includes(each)).map((each) => `${each} came later`),
    ...had.filter((each) => !has.includes(each)).map((each) => `${each} is gone`),
  ];
}
