import type { NamespaceSpec, SecuritySpec } from "../schema/instance.ts";

/** What an instance has that asks for nothing: Docker's defaults. */
export const defaultSecurity: SecuritySpec = {
  privileged: false,
  capAdd: [],
  capDrop: [],
  noNewPrivileges: false,
  seccomp: "default",
  maskedPaths: null,
  readonlyPaths: null,
  readonlyRootfs: false,
  otherOptions: [],
};

export const ownNamespaces: NamespaceSpec = { pid: "", ipc: "", uts: "", cgroup: "", user: "" };
