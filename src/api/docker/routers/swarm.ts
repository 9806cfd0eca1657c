/** Swarm: answered with the words that Docker's clients know from an engine outside a swarm. */
import { apiErrors } from "../errors.ts";
import { type Method, type Route, route } from "../route.ts";

const collections = ["nodes", "services", "tasks", "secrets", "configs"] as const;

export const swarmRoutes: readonly Route[] = [
  inactive("GET", "/swarm", "Inspect the swarm"),
  inactive("GET", "/swarm/unlockkey", "The swarm's unlock key"),
  route({
    method: "POST",
    path: "/swarm/leave",
    summary: "Leave the swarm",
    handle: () => {
      throw apiErrors.API_SWARM_NONE({});
    },
  }),
  inactive("POST", "/swarm/update", "Update the swarm"),
  inactive("POST", "/swarm/unlock", "Unlock the swarm"),
  unsupported("/swarm/init", "Start a swarm"),
  unsupported("/swarm/join", "Join a swarm"),
  ...collections.flatMap((collection) => [
    inactive("GET", `/${collection}`, `List ${collection}`),
    inactive("GET", `/${collection}/{id}`, `Inspect one of the ${collection}`),
    inactive("DELETE", `/${collection}/{id}`, `Remove one of the ${collection}`),
    inactive("POST", `/${collection}/create`, `Create one of the ${collection}`),
    inactive("POST", `/${collection}/{id}/update`, `Update one of the ${collection}`),
  ]),
  inactive("GET", "/services/{id}/logs", "Logs of a service"),
  inactive("GET", "/tasks/{id}/logs", "Logs of a task"),
];

function inactive(method: Method, path: string, summary: string): Route {
  return route({
    method,
    path,
    summary,
    handle: () => {
      throw apiErrors.API_SWARM_INACTIVE({});
    },
  });
}

function unsupported(path: string, summary: string): Route {
  return route({
    method: "POST",
    path,
    summary,
    handle: () => {
      throw apiErrors.API_SWARM_UNSUPPORTED({});
    },
  });
}
