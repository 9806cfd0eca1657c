import type { Route } from "./route.ts";
import { archiveRoutes } from "./routers/archive.ts";
import { buildRoutes } from "./routers/build.ts";
import { containerStreamRoutes } from "./routers/container-streams.ts";
import { containerRoutes } from "./routers/containers.ts";
import { diskUsageRoutes } from "./routers/disk-usage.ts";
import { distributionRoutes } from "./routers/distribution.ts";
import { eventRoutes } from "./routers/events.ts";
import { execRoutes } from "./routers/exec.ts";
import { imageTransferRoutes } from "./routers/image-transfer.ts";
import { imageRoutes } from "./routers/images.ts";
import { networkRoutes } from "./routers/networks.ts";
import { pluginRoutes } from "./routers/plugins.ts";
import { swarmRoutes } from "./routers/swarm.ts";
import { systemRoutes } from "./routers/system.ts";
import { volumeRoutes } from "./routers/volumes.ts";

/** The whole Docker Engine API, by subject: what is served, and what `docs/api.md` lists. */
export const routeGroups: readonly { readonly title: string; readonly routes: readonly Route[] }[] = [
  { title: "System", routes: [...systemRoutes, ...diskUsageRoutes, ...eventRoutes] },
  { title: "Containers", routes: [...containerRoutes, ...containerStreamRoutes] },
  { title: "Exec", routes: execRoutes },
  { title: "Files in containers", routes: archiveRoutes },
  { title: "Images", routes: [...imageRoutes, ...imageTransferRoutes] },
  { title: "Build", routes: buildRoutes },
  { title: "Networks", routes: networkRoutes },
  { title: "Volumes", routes: volumeRoutes },
  { title: "Registries", routes: distributionRoutes },
  { title: "Swarm and plugins (answered, not supported)", routes: [...swarmRoutes, ...pluginRoutes] },
];

export const dockerRoutes: readonly Route[] = routeGroups.flatMap(({ routes }) => routes);
