import type { Host, HostFacts } from "../host.ts";
import { FakeCgroups } from "./fake-cgroups.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { FakeProcesses } from "./fake-processes.ts";
import { FakeSockets } from "./fake-sockets.ts";

/**
 * A {@link Host} that touches no kernel: it records what it is asked and keeps a small model of the result, so that
 * tests of the rooms above need neither root nor real programs. Parts can be scripted through their own methods.
 */
export class FakeHost implements Host {
  readonly kernel = new FakeKernel();
  readonly processes = new FakeProcesses();
  readonly cgroups = new FakeCgroups();
  readonly sockets = new FakeSockets();
  readonly facts: HostFacts;
  closed = false;

  constructor(facts: Partial<HostFacts> = {}) {
    this.facts = { ...fakeFacts, ...facts };
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

export const fakeFacts: HostFacts = {
  kernelRelease: "6.1.0-fake",
  machine: "x86_64",
  architecture: "amd64",
  osName: "Fake Linux 1",
  hostname: "fakehost",
  cpus: 4,
  memoryBytes: 8 * 1024 ** 3,
  bootId: "00000000-0000-4000-8000-000000000000",
  capabilities: ["CHOWN", "SYS_ADMIN", "NET_ADMIN", "SYS_RESOURCE"],
  uplinkMtu: () => 1500,
};
