/** What a machine does otherwise than a container, by the name of the case: for the table in docs/machines.md. */
const ofItsOwn = "refused: it has a kernel, and with it all namespaces, of its own";
const noDevices = "refused: devices of the host are not handed through";

export const differences: Readonly<Record<string, string>> = {
  "run has docker's default capabilities":
    "the same capabilities, no seccomp filter: the guest's kernel is nobody else's",
  "run masks paths": "the same paths; its kernel has no /proc/acpi to mask",
  "run with a device": noDevices,
  "run with a device rule for every minor": noDevices,
  "run with the host's network": ofItsOwn,
  "run in the host's pid namespace": ofItsOwn,
  "share a container's network": ofItsOwn,
  "update limits and policy": "less memory, or as much as it was started with; more is refused while it runs",
};
