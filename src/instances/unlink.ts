import type { OpContext } from "../base/op-context.ts";
import { parseLink } from "../network/links.ts";
import type { InstanceRecord } from "../schema/instance.ts";
import { instanceErrors } from "./errors.ts";
import type { Parts } from "./parts.ts";
import { resolveInstance } from "./resolve.ts";

/** Only there Docker's links have a name of their own, "container/alias". */
const linkedNetwork = "bridge";

/** See {@link InstanceService.unlink}. Whether it runs or not; both containers stay as they are. */
export async function unlinkInstance(parts: Parts, ctx: OpContext, nameOrId: string, alias: string): Promise<void> {
  const { id } = resolveInstance(parts.records, nameOrId);
  using _ = await parts.locks.acquire(id);
  const record = parts.records.require(id);
  const links = record.spec.network.endpoints[linkedNetwork]?.links ?? [];
  const rest = links.filter((link) => parseLink(link).alias !== alias);
  if (rest.length === links.length) throw instanceErrors.INSTANCE_NOT_FOUND({ name: `${nameOrId}/${alias}` });
  const sandbox =
    parts.networks.sandbox(id) === undefined ? undefined : await parts.networks.relink(ctx, id, linkedNetwork, rest);
  parts.store.transaction(() => {
    parts.records.update(id, (present) => withLinks(present, rest));
    if (sandbox !== undefined) parts.records.setState(id, { endpoints: [...sandbox.endpoints] });
  });
}

function withLinks(record: InstanceRecord, links: readonly string[]): InstanceRecord {
  const { network, passthrough } = record.spec;
  const endpoint = { aliases: [], ...network.endpoints[linkedNetwork], links: [...links] };
  const endpoints = { ...network.endpoints, [linkedNetwork]: endpoint };
  return {
    ...record,
    spec: {
      ...record.spec,
      network: { ...network, endpoints },
      // What `inspect` shows of it.
      passthrough: { ...passthrough, "HostConfig.Links": [...links] },
    },
  };
}
