import {
  ConnectNetworkBody,
  CreateNetworkBody,
  DisconnectNetworkBody,
  InspectNetworkQuery,
  ListNetworksQuery,
  PruneNetworksQuery,
} from "../../../schema/docker/network.ts";
import type { NetworkRecord } from "../../../schema/network.ts";
import type { DockerBackend } from "../backend.ts";
import { endpointSpec } from "../codecs/container-network.ts";
import { anyPattern, filterFlag } from "../codecs/filter-values.ts";
import { matchesLabels } from "../codecs/label-filter.ts";
import { networkJson, networkSpecOf } from "../codecs/network-json.ts";
import { apiErrors } from "../errors.ts";
import { created, done, noContent, ok, type Route, route } from "../route.ts";

export const networkRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/networks",
    summary: "List networks",
    query: ListNetworksQuery,
    handle: ({ backend, query, version }) => {
      const tests = Object.entries(query.filters).map(([name, values]) => networkTest(name, values, backend));
      const listed = backend.networks.list().filter((network) => tests.every((test) => test(network)));
      // Before 1.28 a list said who is on each.
      return ok(
        listed.map((network) =>
          networkJson(network, version.atLeast(28) ? undefined : backend.networks.endpointsOf(network.id)),
        ),
      );
    },
  }),
  route({
    method: "GET",
    path: "/networks/{id}",
    summary: "Inspect a network",
    query: InspectNetworkQuery,
    handle: ({ backend, name, query }) => {
      const network = backend.networks.resolve(name);
      if (query.scope !== "" && query.scope !== "local") {
        throw apiErrors.API_NOT_FOUND({ message: `network ${name} not found` });
      }
      return ok(networkJson(network, backend.networks.endpointsOf(network.id)));
    },
  }),
  route({
    method: "POST",
    path: "/networks/create",
    summary: "Create a network",
    body: CreateNetworkBody,
    outlivesClient: true,
    handle: async ({ backend, ctx, body }) => {
      const { network, warnings } = await backend.networks.create(ctx, networkSpecOf(body));
      return created({ Id: network.id, Warning: warnings.join("\n") });
    },
  }),
  route({
    method: "POST",
    path: "/networks/{id}/connect",
    summary: "Put a container on a network",
    body: ConnectNetworkBody,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => {
      const network = backend.networks.resolve(name);
      await backend.instances.connect(ctx, body.Container, network.spec.name, endpointSpec(body.EndpointConfig));
      return done;
    },
  }),
  route({
    method: "POST",
    path: "/networks/{id}/disconnect",
    summary: "Take a container off a network",
    body: DisconnectNetworkBody,
    outlivesClient: true,
    handle: async ({ backend, ctx, name, body }) => {
      const network = backend.networks.resolve(name);
      await backend.instances.disconnect(ctx, body.Container, network.spec.name, body.Force ?? false);
      return done;
    },
  }),
  route({
    method: "DELETE",
    path: "/networks/{id}",
    summary: "Remove a network",
    outlivesClient: true,
    handle: async ({ backend, ctx, name }) => {
      await backend.networks.remove(ctx, name);
      return noContent;
    },
  }),
  route({
    method: "POST",
    path: "/networks/prune",
    summary: "Remove unused networks",
    since: 25,
    query: PruneNetworksQuery,
    outlivesClient: true,
    handle: async ({ backend, ctx, query }) => {
      const deleted = await backend.networks.prune(ctx, query.filters);
      return ok({ NetworksDeleted: deleted.length === 0 ? null : deleted });
    },
  }),
];

function networkTest(
  name: string,
  values: readonly string[],
  { networks, instances }: DockerBackend,
): (network: NetworkRecord) => boolean {
  switch (name) {
    case "name": {
      const matches = anyPattern(values);
      return (network) => matches(network.spec.name);
    }
    case "id": {
      const matches = anyPattern(values);
      return (network) => matches(network.id);
    }
    case "driver":
      return (network) => values.includes(network.spec.driver);
    case "label":
      return (network) => matchesLabels(network.spec.labels, values);
    case "scope":
      return () => values.includes("local");
    case "type": {
      for (const value of values) {
        if (value !== "builtin" && value !== "custom") {
          throw apiErrors.API_BAD_REQUEST({ message: `invalid filter: 'type'='${value}'` });
        }
      }
      return (network) => values.includes(network.builtin ? "builtin" : "custom");
    }
    case "dangling": {
      const wanted = filterFlag(name, values);
      const used = new Set(
        instances.list().flatMap(({ spec }) => [spec.network.mode, ...Object.keys(spec.network.endpoints)]),
      );
      return (network) => {
        const dangling =
          !network.builtin && networks.endpointsOf(network.id).length === 0 && !used.has(network.spec.name);
        return dangling === wanted;
      };
    }
    default:
      throw apiErrors.API_INVALID_FILTER({ name });
  }
}
