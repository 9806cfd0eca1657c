import { type Static, Type } from "typebox";
import { DockerEndpointSettings } from "./container.ts";
import { field, flag, param, stringMap, text } from "./fields.ts";

export const CreateNetworkBody = Type.Object({
  Name: Type.String(),
  CheckDuplicate: flag("Always checked"),
  Driver: text("bridge"),
  Scope: text('"local"'),
  Internal: flag(),
  Attachable: flag(),
  Ingress: flag("Not supported (Swarm)"),
  ConfigOnly: flag("Not supported"),
  ConfigFrom: field(Type.Object({ Network: text() }), "Not supported"),
  IPAM: field(
    Type.Object({
      Driver: text('"default"'),
      Options: stringMap("Not supported"),
      Config: field(
        Type.Array(
          Type.Object({
            Subnet: text(),
            IPRange: text(),
            Gateway: text(),
            AuxiliaryAddresses: stringMap(),
            AuxAddress: stringMap(),
          }),
        ),
      ),
    }),
  ),
  EnableIPv4: flag("Must not be false"),
  EnableIPv6: flag(),
  Options: stringMap(),
  Labels: stringMap(),
});
export type CreateNetworkBody = Static<typeof CreateNetworkBody>;

export const ConnectNetworkBody = Type.Object({
  Container: Type.String(),
  EndpointConfig: field(DockerEndpointSettings),
});
export const DisconnectNetworkBody = Type.Object({ Container: Type.String(), Force: flag() });

export const ListNetworksQuery = Type.Object({
  filters: param.filters("dangling", "driver", "id", "label", "name", "scope", "type"),
});
export const InspectNetworkQuery = Type.Object({
  verbose: param.flag("Only matters to Swarm"),
  scope: param.text("local, or swarm (which has none)"),
});
export const PruneNetworksQuery = Type.Object({ filters: param.filters("label", "label!", "until") });
