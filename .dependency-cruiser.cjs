// Imports go down only. Each room may import itself and the rooms listed; docs/architecture.md draws the same picture.
const rooms = {
  base: [],
  schema: ["base"],
  host: ["base", "schema"],
  state: ["base", "schema", "host"],
  archive: ["base", "schema", "host"],
  dockerfile: ["base", "schema"],
  ledger: ["base", "schema"],
  content: ["base", "schema", "host"],
  snapshots: ["base", "schema", "host", "state", "archive"],
  network: ["base", "schema", "host", "state"],
  volumes: ["base", "schema", "host", "state", "archive"],
  guest: ["base", "schema", "host"],
  qemu: ["base", "schema", "host"],
  disks: ["base", "schema", "host"],
  ovf: ["base", "schema", "host", "archive"],
  images: ["base", "schema", "host", "state", "archive", "dockerfile", "content", "snapshots"],
  instances: ["base", "schema", "host", "state", "archive", "dockerfile", "snapshots", "network", "volumes", "images", "ledger", "guest", "qemu", "disks"],
  osimages: ["base", "schema", "host", "archive", "snapshots", "images", "guest", "disks"],
  build: ["base", "schema", "host", "state", "archive", "dockerfile", "content", "snapshots", "network", "volumes", "images", "instances"],
  buildkit: ["base", "schema", "archive", "dockerfile", "images", "build"],
  api: ["base", "schema", "host", "state", "snapshots", "network", "volumes", "images", "instances", "build", "buildkit", "osimages", "machines"],
  machines: ["base", "schema", "host", "state", "archive", "content", "disks", "ovf", "qemu", "snapshots", "network", "images", "ledger", "instances", "osimages"],
  client: ["base", "schema"],
  cli: ["base", "schema", "client"],
  daemon: ["base", "schema", "host", "state", "archive", "content", "snapshots", "network", "volumes", "images", "ledger", "guest", "qemu", "disks", "instances", "osimages", "machines", "build", "buildkit", "api", "client"],
};

const only = Object.entries(rooms).map(([room, allowed]) => ({
  name: `${room}-imports-down`,
  comment: `src/${room} may import only ${[room, ...allowed].join(", ")} and packages`,
  severity: "error",
  from: { path: `^src/${room}/`, pathNot: "\\.(test|contract)\\.ts$" },
  to: { path: "^src/", pathNot: `^src/(${[room, ...allowed].join("|")})/` },
}));

/** npm packages belong to the room whose job they do. */
const packages = {
  koffi: "host",
  fastify: "api|daemon",
  pino: "daemon",
  "tar-stream": "archive|snapshots|images|instances|build|cli|client",
  "@bufbuild/protobuf": "buildkit",
  ajv: "schema|state|api|daemon",
};

module.exports = {
  forbidden: [
    ...only,
    ...Object.entries(packages).map(([name, where]) => ({
      name: `package-${name}`,
      comment: `${name} is for src/{${where}} only`,
      severity: "error",
      from: { path: "^src/", pathNot: `^src/(${where})/` },
      to: { path: `node_modules/${name}/` },
    })),
    {
      name: "bench-is-a-client",
      comment: "bench/ measures an engine from outside: it may import the client and what is below it, the door to processes, and the tests' support",
      severity: "error",
      from: { path: "^bench/" },
      to: { path: "^(src|test)/", pathNot: "^(src/(client|schema|base|host)/|test/support/)" },
    },
    {
      name: "conformance-is-a-client",
      comment: "conformance/ runs others' tests against an engine from outside: it may import the client and what is below it, the Dockerfile parser, which it tests in its own process, and the tests' support",
      severity: "error",
      from: { path: "^conformance/" },
      to: { path: "^(src|test)/", pathNot: "^(src/(client|dockerfile|schema|base)/|test/support/)" },
    },
    { name: "no-circular", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only", "dynamic-import"] } } },
    {
      name: "fakes-are-for-tests",
      severity: "error",
      from: { path: "^src/", pathNot: "(\\.(test|contract)\\.ts$|/fake/)" },
      to: { path: "/fake/" },
    },
    { name: "no-orphan-dependency", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js", ".json"], exportsFields: ["exports"], conditionNames: ["import", "node"] },
  },
};
