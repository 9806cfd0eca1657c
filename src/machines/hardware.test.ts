import { describe, expect, it } from "vitest";
import { claimOf } from "../instances/request.ts";
import type { CreateMachineBody } from "../schema/machine-api.ts";
import { machineRequest, type Sources } from "./hardware.ts";

const GiB = 1024 ** 3;
const host = { cpus: 8, memoryBytes: 16 * GiB, uefi: true, tpm: true };
const sources: Sources = {
  source: "debian",
  root: { size: 20 * GiB, file: "root.qcow2", format: "qcow2", base: "" },
  iso: { file: "cd0.iso", source: "/installer.iso" },
};
const request = (body: Partial<CreateMachineBody> = {}, facts = host) =>
  machineRequest({ name: "web1", ...body }, sources, facts);

describe("machineRequest", () => {
  it("gives Linux virtio hardware, a card on the default network, and its disk as the first to boot from", () => {
    const { machine, resources, network, process } = request();
    expect(machine).toMatchObject({
      firmware: "bios",
      tpm: false,
      disks: [{ name: "root", bus: "virtio", size: 20 * GiB }],
      cdroms: [{ name: "cd0", bus: "scsi", file: "cd0.iso" }],
      nics: [{ name: "net0", network: "bridge", model: "virtio" }],
      boot: ["root", "cd0"],
    });
    expect(resources).toMatchObject({ memory: GiB, nanoCpus: 1e9 });
    expect(network.mode).toBe("bridge");
    expect(network.endpoints["bridge"]?.macAddress).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/);
    expect(process).toMatchObject({ tty: true, openStdin: true });
  });

  it("gives Windows what its installer has drivers for, as far as this host has it", () => {
    expect(request({ os: "windows" }).machine).toMatchObject({
      firmware: "uefi",
      tpm: true,
      disks: [{ bus: "sata" }],
      nics: [{ model: "e1000e" }],
    });
    const bare = request({ os: "windows" }, { ...host, uefi: false, tpm: false });
    expect(bare.machine).toMatchObject({ firmware: "bios", tpm: false });
  });

  it("takes what is stated", () => {
    const nics = [
      { network: "lan", model: "e1000" as const, mac: "52:54:00:AA:BB:CC", address: "10.0.0.5" },
      { network: "dmz" },
    ];
    const { machine, network, resources } = request({ cpus: 3, memory: 3 * GiB + 5, tpm: true, diskBus: "scsi", nics });
    expect(machine).toMatchObject({
      tpm: true,
      disks: [{ bus: "scsi" }],
      nics: [{ model: "e1000" }, { name: "net1" }],
    });
    expect(network.endpoints).toMatchObject({
      lan: { macAddress: "52:54:00:aa:bb:cc", ipv4Address: "10.0.0.5" },
      dmz: {},
    });
    expect(resources).toMatchObject({ memory: 3 * GiB, nanoCpus: 3e9 });
    expect(request({ nics: [] }).network).toMatchObject({ mode: "none", endpoints: {} });
  });

  it("can grow to four times its memory, and to the host's processors", () => {
    expect(request().machine).toMatchObject({ maxCpus: 8, maxMemory: 4 * GiB });
    expect(request({ memory: 12 * GiB, cpus: 12 }).machine).toMatchObject({ maxCpus: 12, maxMemory: 16 * GiB });
  });

  it("counts in the ledger with its emulator and its disks' sizes", () => {
    const { furnish: _, platform: _p, rootfsChainId: _c, ...spec } = request({ cpus: 2 });
    const claim = claimOf({
      id: "1",
      name: "web1",
      spec: { ...spec, process: { ...spec.process, entrypoint: [], cmd: [] } },
    });
    expect(claim).toMatchObject({
      owner: { kind: "vm", name: "web1" },
      request: { cpu: 2e9, memory: GiB + 352 * 1024 ** 2, disk: 20 * GiB },
    });
  });
});
