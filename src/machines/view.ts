import { machineCpus, machineMemory } from "../instances/qemu/machine-size.ts";
import type { MachineView } from "../schema/machine-api.ts";
import { type MachineParts, machinePaths, type MachineRecord } from "./parts.ts";

/** A machine's record as the API shows it. */
export function machineView(parts: Pick<MachineParts, "dataRoot" | "runRoot">, record: MachineRecord): MachineView {
  const { id, name, createdAt, spec, state } = record;
  const { machine, resources } = spec;
  const paths = machinePaths(parts, id);
  const runs = state.status === "running" || state.status === "paused";
  return {
    id,
    name,
    status: state.status,
    createdAt,
    startedAt: state.startedAt,
    finishedAt: state.finishedAt,
    exitCode: state.exitCode,
    error: state.error,
    source: spec.image,
    cpus: machineCpus(resources, Number.MAX_SAFE_INTEGER),
    memory: machineMemory(resources),
    hardware: machine,
    nics: machine.nics.map(({ name: nic, network, model }) => {
      const endpoint = runs ? state.endpoints.find(({ networkName }) => networkName === network) : undefined;
      const mac = endpoint?.macAddress ?? spec.network.endpoints[network]?.macAddress ?? "";
      return { name: nic, network, model, mac, address: endpoint?.ipv4Cidr ?? "" };
    }),
    ports: runs ? state.ports : [],
    labels: spec.labels,
    disksDirectory: paths.disks,
    vncSocket: runs && machine.vga !== "none" ? paths.vnc : "",
  };
}
