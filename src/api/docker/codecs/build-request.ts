import type { Readable } from "node:stream";
import type { BuildRequest } from "../../../build/build-service.ts";
import type { RegistryAuth } from "../../../images/image-service.ts";
import type { BuildQuery } from "../../../schema/docker/build.ts";
import { unlimited } from "../../../schema/resources.ts";
import type { DockerBackend } from "../backend.ts";
import { apiErrors } from "../errors.ts";
import { platformOf } from "./create-container.ts";

/** `POST /build`: the query as a {@link BuildRequest}, with the body as its context. */
export function buildRequest(
  query: BuildQuery,
  body: Readable,
  auths: Readonly<Record<string, RegistryAuth>>,
  backend: Pick<DockerBackend, "system">,
): BuildRequest {
  refuseUnsupported(query);
  const platform = platformOf(query.platform, backend);
  return {
    context: query.remote === "" || query.remote === "client-session" ? { tar: body } : { remote: query.remote },
    dockerfile: query.dockerfile || "Dockerfile",
    tags: query.t.filter((tag) => tag !== ""),
    target: query.target,
    buildArgs: query.buildargs ?? {},
    labels: query.labels ?? {},
    noCache: query.nocache,
    pull: query.pull,
    quiet: query.q,
    forceRemove: query.forcerm,
    cacheFrom: query.cachefrom ?? [],
    networkMode: query.networkmode || "default",
    extraHosts: query.extrahosts,
    resources: {
      ...unlimited,
      memory: query.memory ?? 0,
      memorySwap: query.memswap ?? 0,
      cpuShares: query.cpushares ?? 0,
      cpuPeriod: query.cpuperiod ?? 0,
      cpuQuota: query.cpuquota ?? 0,
      cpusetCpus: query.cpusetcpus,
      cpusetMems: query.cpusetmems,
    },
    shmSize: query.shmsize ?? 0,
    ulimits: (query.ulimits ?? []).map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard })),
    squash: query.squash,
    ...(platform === undefined ? {} : { platform }),
    auths,
  };
}

function refuseUnsupported(query: BuildQuery): void {
  if (!["", "1", "2"].includes(query.version)) throw apiErrors.API_UNSUPPORTED({ what: `version ${query.version}` });
  if (query.cgroupparent !== "") throw apiErrors.API_UNSUPPORTED({ what: "cgroupparent" });
  if (query.outputs !== "" && query.outputs !== "[]") throw apiErrors.API_UNSUPPORTED({ what: "outputs" });
  if (query.session !== "" && query.version !== "2") {
    throw apiErrors.API_UNSUPPORTED({ what: "session", hint: "the classic builder has none: ask for version=2" });
  }
  if (query.securityopt.length > 0) {
    throw apiErrors.API_BAD_REQUEST({
      message: "The daemon on this platform does not support setting security options on build",
    });
  }
  if (query.isolation !== "" && query.isolation !== "default") {
    throw apiErrors.API_BAD_REQUEST({ message: `unsupported isolation: ${JSON.stringify(query.isolation)}` });
  }
}
