import type { InstanceSpec, ProcessSpec, SecuritySpec } from "../../schema/instance.ts";
import { unlimited } from "../../schema/resources.ts";

export interface SpecOverrides extends Omit<Partial<InstanceSpec>, "process" | "security"> {
  readonly process?: Partial<ProcessSpec>;
  readonly security?: Partial<SecuritySpec>;
}

/** A whole instance specification for tests: `docker run`'s defaults for the command `argv`, with `overrides`. */
export function instanceSpec(argv: readonly string[], overrides: SpecOverrides = {}): InstanceSpec {
  return {
    isolation: "container",
    name: "test",
    image: "busybox:latest",
    hostname: "",
    domainname: "",
    labels: {},
    annotations: {},
    mounts: [],
    devices: [],
    deviceCgroupRules: [],
    namespaces: { pid: "", ipc: "", uts: "", cgroup: "", user: "" },
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
    log: { driver: "json-file", options: {} },
    internal: false,
    passthrough: {},
    ...overrides,
    process: {
      entrypoint: [],
      cmd: [...argv],
      env: [],
      user: "",
      groupAdd: [],
      workingDir: "",
      tty: false,
      openStdin: false,
      stdinOnce: false,
      init: false,
      ...overrides.process,
    },
    security: {
      privileged: false,
      capAdd: [],
      capDrop: [],
      noNewPrivileges: false,
      seccomp: "default",
      maskedPaths: null,
      readonlyPaths: null,
      readonlyRootfs: false,
      otherOptions: [],
      ...overrides.security,
    },
  };
}
