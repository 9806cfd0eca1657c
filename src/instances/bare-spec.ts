/** What an instance is that asks for nothing: those that the engine makes of its own accord say only what differs. */
import type { InstanceSpec, NamespaceSpec, SecuritySpec } from "../schema/instance.ts";
import { unlimited } from "../schema/resources.ts";

/** Docker's defaults. */
const defaultSecurity: SecuritySpec = {
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

const ownNamespaces: NamespaceSpec = { pid: "", ipc: "", uts: "", cgroup: "", user: "" };

/** No command, mounts, networks or limits; the default walls around it; never restarted, and kept when it has ended. */
export const bareSpec = {
  process: {
    entrypoint: [],
    cmd: [],
    env: [],
    user: "",
    groupAdd: [],
    workingDir: "",
    tty: false,
    openStdin: false,
    stdinOnce: false,
    init: false,
  },
  hostname: "",
  domainname: "",
  labels: {},
  annotations: {},
  mounts: [],
  devices: [],
  deviceCgroupRules: [],
  security: defaultSecurity,
  namespaces: ownNamespaces,
  sysctls: {},
  shmSize: 0,
  ulimits: [],
  oomScoreAdj: 0,
  resources: unlimited,
  network: {
    mode: "none",
    endpoints: {},
    ports: [],
    exposedPorts: [],
    publishAll: false,
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
  },
  restartPolicy: { name: "no", maximumRetryCount: 0 },
  autoRemove: false,
  stopSignal: "",
  stopTimeout: null,
  healthcheck: null,
  log: { driver: "none", options: {} },
  internal: false,
  passthrough: {},
} as const satisfies Omit<InstanceSpec, "isolation" | "name" | "image">;
