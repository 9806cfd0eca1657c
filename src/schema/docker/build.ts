import { type Static, Type } from "typebox";
import { DockerUlimit } from "./container.ts";
import { param } from "./fields.ts";

export const BuildQuery = Type.Object({
  dockerfile: param.text("Path inside the context; Dockerfile by default"),
  t: param.texts("Name and tag of the image"),
  extrahosts: param.texts('"name:address" for RUN'),
  remote: param.text("URL of the context instead of the body"),
  q: param.flag("Only the image's id as output"),
  nocache: param.flag("Don't use the cache"),
  cachefrom: param.json(Type.Array(Type.String()), "Images whose layers may be reused, JSON; with some, no others are"),
  pull: param.flag("Always look for a newer base image"),
  rm: param.flag("Remove step containers after success; as with BuildKit there are none to keep", true),
  forcerm: param.flag("Remove step containers also after failure"),
  memory: param.integer("Bytes, for RUN"),
  memswap: param.integer("Bytes, for RUN"),
  cpushares: param.integer("For RUN"),
  cpusetcpus: param.text("For RUN"),
  cpusetmems: param.text("For RUN"),
  cpuperiod: param.integer("Microseconds, for RUN"),
  cpuquota: param.integer("Microseconds, for RUN"),
  cgroupparent: param.text("Not supported"),
  buildargs: param.json(
    Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()])),
    "Values of ARG, JSON; null keeps the default",
  ),
  shmsize: param.integer("Bytes, for RUN"),
  squash: param.flag("Merge the new layers into one"),
  labels: param.json(Type.Record(Type.String(), Type.String()), "Labels of the image, JSON"),
  networkmode: param.text("default, none, host, a network's name or container:ID"),
  platform: param.text("os[/arch[/variant]]"),
  target: param.text("Stage to stop at"),
  outputs: param.text("Not supported: buildx uses POST /grpc"),
  version: param.text("1, the classic builder, or 2: BuildKit, whose answer is the build's graph as it changes"),
  ulimits: param.json(Type.Array(DockerUlimit), "For RUN, JSON"),
  securityopt: param.texts("Not supported on Linux"),
  session: param.text("With version 2: the session (POST /session) that has the client's credentials"),
  buildid: param.text("With version 2: by which POST /build/cancel finds the build"),
  isolation: param.text('"default"'),
});
export type BuildQuery = Static<typeof BuildQuery>;

export const CancelBuildQuery = Type.Object({ id: param.text("The build's buildid") });

export const PruneBuildQuery = Type.Object({
  all: param.flag("Also what is shared with images"),
  "keep-storage": param.integer("Not supported"),
  "reserved-space": param.integer("Not supported"),
  "max-used-space": param.integer("Not supported"),
  "min-free-space": param.integer("Not supported"),
  filters: param.filters("description", "id", "inuse", "parent", "private", "shared", "type", "until", "unused-for"),
});
