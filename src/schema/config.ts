import { type Static, Type } from "typebox";
import { sizePattern } from "../base/byte-size.ts";

/**
 * The engine's settings: the one source of the configuration file's keys, of the `BERTH_*` environment variables
 * (BERTH_DATA_ROOT), of `berth daemon`'s flags (--data-root) and of their help. Later sources win: defaults, file,
 * environment, flags. `x-docker` names the flag's spelling in dockerd where it has another.
 */
export const EngineConfig = Type.Object(
  {
    dataRoot: Type.String({ default: "/var/lib/berth", description: "Where images, volumes and records are kept" }),
    runRoot: Type.String({
      default: "/run/berth",
      description: "Where sockets and the state of running instances are kept (lost at reboot)",
    }),
    hosts: Type.Array(Type.String(), {
      default: ["unix:///run/berth/docker.sock"],
      description: "Addresses to serve the API on: unix://PATH, or tcp://HOST:PORT with --tls-verify",
      flag: "host",
      short: "H",
    }),
    socketGroup: Type.String({
      default: "",
      description: "Group that may use the unix socket (mode 0660); empty: root only",
    }),
    bip: Type.String({
      default: "",
      description: "Address and size of the default bridge, e.g. 172.17.0.1/16; empty: the first free address pool",
    }),
    bridge: Type.String({
      default: "",
      description: "Name of the default bridge's interface; empty: made from the engine's id",
    }),
    mtu: Type.Integer({ default: 0, minimum: 0, description: "MTU of bridges; 0: that of the uplink" }),
    addressPools: Type.Array(Type.Object({ base: Type.String(), size: Type.Integer() }), {
      default: [
        { base: "172.17.0.0/12", size: 16 },
        { base: "192.168.0.0/16", size: 20 },
      ],
      description: "Pools that networks take their subnets from: base=CIDR,size=N",
      flag: "default-address-pool",
    }),
    dns: Type.Array(Type.String(), { default: [], description: "DNS servers of containers; empty: the host's" }),
    dnsSearch: Type.Array(Type.String(), { default: [], description: "DNS search domains of containers" }),
    registryMirrors: Type.Array(Type.String(), {
      default: [],
      description: "Mirrors to try first: URL for docker.io, REGISTRY=URL for another registry",
      flag: "registry-mirror",
    }),
    insecureRegistries: Type.Array(Type.String(), {
      default: [],
      description:
        "Registries (host:port or CIDR) that may be spoken to without TLS or with an unknown certificate; loopback always may",
      flag: "insecure-registry",
    }),
    maxConcurrentDownloads: Type.Integer({ default: 3, minimum: 1, description: "Layers downloaded at a time" }),
    maxConcurrentUploads: Type.Integer({ default: 5, minimum: 1, description: "Layers uploaded at a time" }),
    runtime: Type.String({
      default: "auto",
      description: "OCI runtime: auto, crun, runc, or a path",
      flag: "default-runtime",
    }),
    guestKernel: Type.String({
      default: "",
      description:
        "Debian package (.deb) of the cloud kernel that virtual machines boot; empty: set-up's, else downloaded with apt",
    }),
    machineTemplates: Type.String({
      default: "2g",
      pattern: sizePattern,
      description: "Disk space for templates, which virtual machines start from instead of booting; 0: none are made",
    }),
    machinePool: Type.Integer({
      default: 0,
      minimum: 0,
      description:
        "Virtual machines that wait, restored and paused, of each template in use, so that a start is as quick as a container's; 0: none",
    }),
    cgroupParent: Type.String({ default: "", description: "Parent control group; empty: made from the engine's id" }),
    overcommitCpu: Type.Number({
      default: 16,
      exclusiveMinimum: 0,
      description: "How often each CPU may be reserved: CPU time can be shared, who waits is only slower",
    }),
    overcommitMemory: Type.Number({
      default: 1,
      exclusiveMinimum: 0,
      description: "How often memory may be reserved: more than once, and the kernel may have to kill",
    }),
    overcommitPids: Type.Number({
      default: 16,
      exclusiveMinimum: 0,
      description: "How often the kernel's process ids may be reserved: a limit of processes is a fuse, seldom a need",
    }),
    overcommitDisk: Type.Number({
      default: 2,
      exclusiveMinimum: 0,
      description: "How often the data root's file system may be reserved: few fill what they asked for",
    }),
    reservedMemory: Type.String({
      default: "256m",
      pattern: sizePattern,
      description: "Memory kept back for the host and the engine itself",
    }),
    reservedDisk: Type.String({
      default: "1g",
      pattern: sizePattern,
      description: "Disk space of the data root's file system kept back for the host and the engine's records",
    }),
    logLevel: Type.Union([Type.Literal("debug"), Type.Literal("info"), Type.Literal("warn"), Type.Literal("error")], {
      default: "info",
      description: "What the engine logs",
    }),
    tlsVerify: Type.Boolean({
      default: false,
      description: "Ask TCP clients for a certificate signed by --tls-ca-cert",
    }),
    tlsCaCert: Type.String({ default: "", description: "CA that signs clients' certificates" }),
    tlsCert: Type.String({ default: "", description: "Certificate of the API server" }),
    tlsKey: Type.String({ default: "", description: "Private key of the API server" }),
  },
  { additionalProperties: false },
);
export type EngineConfig = Static<typeof EngineConfig>;
