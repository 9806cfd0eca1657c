/** Docker's plugins: there are none. */
import { apiErrors } from "../errors.ts";
import { type Method, ok, type Route, route } from "../route.ts";

export const pluginRoutes: readonly Route[] = [
  route({ method: "GET", path: "/plugins", summary: "List plugins: there are none", handle: () => ok([]) }),
  missing("GET", "/plugins/{name}/json", "Inspect a plugin"),
  missing("DELETE", "/plugins/{name}", "Remove a plugin"),
  missing("POST", "/plugins/{name}/enable", "Enable a plugin"),
  missing("POST", "/plugins/{name}/disable", "Disable a plugin"),
  missing("POST", "/plugins/{name}/set", "Configure a plugin"),
  missing("POST", "/plugins/{name}/push", "Push a plugin"),
  missing("POST", "/plugins/{name}/upgrade", "Upgrade a plugin"),
  unsupported("GET", "/plugins/privileges", "What a plugin asks for"),
  unsupported("POST", "/plugins/pull", "Install a plugin"),
  unsupported("POST", "/plugins/create", "Create a plugin"),
];

function missing(method: Method, path: string, summary: string): Route {
  return route({
    method,
    path,
    summary,
    handle: ({ name }) => {
      throw apiErrors.API_NOT_FOUND({ message: `plugin ${JSON.stringify(name)} not found` });
    },
  });
}

function unsupported(method: Method, path: string, summary: string): Route {
  return route({
    method,
    path,
    summary,
    handle: () => {
      throw apiErrors.API_PLUGINS_UNSUPPORTED({});
    },
  });
}
