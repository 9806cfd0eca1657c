/** Networks as Docker shows them, and Docker's request as a {@link NetworkSpec}. */
import type { NetworkService } from "../../../network/network-service.ts";
import type { CreateNetworkBody } from "../../../schema/docker/network.ts";
import type { IpamPool, NetworkRecord, NetworkSpec } from "../../../schema/network.ts";
import { apiErrors } from "../errors.ts";

/** `GET /networks/{id}`; a list has no containers. */
export function networkJson(network: NetworkRecord, endpoints?: ReturnType<NetworkService["endpointsOf"]>): object {
  const { spec } = network;
  return {
    Name: spec.name,
    Id: network.id,
    Created: network.createdAt,
    Scope: "local",
    Driver: spec.driver,
    EnableIPv4: true,
    EnableIPv6: spec.enableIPv6,
    IPAM: {
      Driver: "default",
      Options: spec.ipamOptions ?? null,
      Config: spec.driver === "bridge" ? spec.ipam.map(poolJson) : null,
    },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: Object.fromEntries(
      (endpoints ?? []).map(({ instanceId, instanceName, endpoint }) => [
        instanceId,
        {
          Name: instanceName,
          EndpointID: endpoint.id,
          MacAddress: endpoint.macAddress,
          IPv4Address: endpoint.ipv4Cidr,
          IPv6Address: endpoint.ipv6Cidr ?? "",
        },
      ]),
    ),
    Options: spec.options,
    Labels: spec.labels,
  };
}

export function networkSpecOf(body: CreateNetworkBody): NetworkSpec {
  const driver = body.Driver || "bridge";
  if (driver !== "bridge" && driver !== "bridged" && driver !== "host" && driver !== "null") {
    throw apiErrors.API_NOT_FOUND({
      message: `could not find plugin ${driver} in v1 plugin registry: plugin ${JSON.stringify(driver)} not found`,
    });
  }
  if (body.Ingress === true) throw apiErrors.API_UNSUPPORTED({ what: "Ingress", hint: "there is no Swarm" });
  if (body.ConfigOnly === true) throw apiErrors.API_UNSUPPORTED({ what: "ConfigOnly" });
  if (body.ConfigFrom?.Network) throw apiErrors.API_UNSUPPORTED({ what: "ConfigFrom" });
  if (body.EnableIPv4 === false) throw apiErrors.API_UNSUPPORTED({ what: "a network without IPv4" });
  const scope = body.Scope || "local";
  if (scope !== "local")
    throw apiErrors.API_UNSUPPORTED({ what: `network scope "${scope}"`, hint: "there is no Swarm" });
  const ipam = body.IPAM;
  const ipamDriver = ipam?.Driver || "default";
  if (ipamDriver !== "default") throw apiErrors.API_UNSUPPORTED({ what: `IPAM driver "${ipamDriver}"` });
  const [ipamOption] = Object.keys(ipam?.Options ?? {});
  if (ipamOption !== undefined) throw apiErrors.API_UNSUPPORTED({ what: `IPAM option "${ipamOption}"` });
  return {
    name: body.Name,
    driver,
    internal: body.Internal ?? false,
    attachable: body.Attachable ?? false,
    enableIPv6: body.EnableIPv6 ?? false,
    ipam: (ipam?.Config ?? []).map(pool),
    ...(ipam?.Options ? { ipamOptions: {} } : {}),
    options: body.Options ?? {},
    labels: body.Labels ?? {},
  };
}

type PoolBody = NonNullable<NonNullable<CreateNetworkBody["IPAM"]>["Config"]>[number];

function pool(body: PoolBody): IpamPool {
  const auxAddresses = body.AuxiliaryAddresses ?? body.AuxAddress;
  return {
    subnet: body.Subnet ?? "",
    ...(body.Gateway ? { gateway: body.Gateway } : {}),
    ...(body.IPRange ? { ipRange: body.IPRange } : {}),
    ...(auxAddresses ? { auxAddresses } : {}),
  };
}

function poolJson(pool: IpamPool): object {
  return {
    Subnet: pool.subnet,
    ...(pool.ipRange === undefined ? {} : { IPRange: pool.ipRange }),
    ...(pool.gateway === undefined ? {} : { Gateway: pool.gateway }),
    ...(pool.auxAddresses === undefined ? {} : { AuxiliaryAddresses: pool.auxAddresses }),
  };
}
