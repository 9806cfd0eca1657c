/**
 * Docker's links, "container:alias": the alias is in the linking instance's /etc/hosts, and on a user-defined network its own
 * resolver answers it as well. Pure.
 */
import { shortId } from "../base/ids.ts";
import type { EndpointSpec } from "../schema/network.ts";
import { addressOf } from "./address-book.ts";
import { networkErrors } from "./errors.ts";
import type { HostsEntry } from "./hosts-file.ts";
import type { StoredSandbox } from "./network-store.ts";
import type { Attachment } from "./sandbox-plan.ts";

/**
 * Entries for the links of `attachments` to those of `sandboxes`. On the default bridge a missing target is an error
 * (`LINK_INVALID`), as there is no other way to find it; on a user-defined network it may come later.
 */
export function linkEntries(
  attachments: readonly Attachment[],
  sandboxes: readonly StoredSandbox[],
  options: { readonly strict: boolean },
): readonly HostsEntry[] {
  return attachments.flatMap(({ endpoint, network }) =>
    (endpoint.spec.links ?? []).flatMap((link) => {
      const { target, alias } = parseLink(link);
      const sandbox = sandboxes.find(
        ({ instanceName, instanceId }) =>
          instanceName === target || (target.length >= 12 && instanceId.startsWith(target)),
      );
      const peer = sandbox?.endpoints.find(({ networkId }) => networkId === network.id);
      if (sandbox !== undefined && peer !== undefined) {
        const names = [...new Set([alias, shortId(sandbox.instanceId), sandbox.instanceName])];
        return [{ address: addressOf(peer.ipv4Cidr), names }];
      }
      if (options.strict && network.builtin) {
        throw networkErrors.LINK_INVALID({ link, reason: `Cannot link to a non running container: ${target}` });
      }
      return [];
    }),
  );
}

export function hasLinks({ links = [] }: EndpointSpec): boolean {
  return links.length > 0;
}

/** "name", "name:alias", "/name:/other/alias". */
export function parseLink(link: string): { readonly target: string; readonly alias: string } {
  const [target = "", alias = target, ...rest] = link.split(":").map((part) => part.split("/").at(-1) ?? "");
  if (target === "" || alias === "" || rest.length > 0) {
    throw networkErrors.LINK_INVALID({ link, reason: "a link is NAME or NAME:ALIAS" });
  }
  return { target, alias };
}
