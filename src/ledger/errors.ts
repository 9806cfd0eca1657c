import { sizeText } from "../base/byte-size.ts";
import { defineErrors } from "../base/errors.ts";
import type { Owner, ResourceName } from "../schema/capacity.ts";
import type { Shortfall } from "./account.ts";

interface Refusal {
  readonly owner: Owner;
  readonly short: readonly Shortfall[];
  readonly ratio: Readonly<Record<ResourceName, number>>;
}

export const ledgerErrors = defineErrors({
  /** 409: the machine's present state is in the way, and the caller can change that. Nothing failed. */
  CAPACITY_SHORT: {
    status: 409,
    // docker's client prints the message only, so the way out is in it.
    message: (p: Refusal) =>
      `not enough capacity for ${p.owner.kind} ${p.owner.name}: ` +
      `${p.short.map((each) => shortText(each, p.ratio[each.resource])).join("; ")}. ${wayOut(p.short)}`,
    hint: () => "`berth capacity` shows who holds what.",
  },
});

/** Holders named in a message. */
const namedHolders = 3;

function shortText({ resource, asked, fits, limit, holders }: Shortfall, ratio: number): string {
  const bound = `${quantityText(resource, limit)} that may be reserved (over-commit ${ratio})`;
  return (
    `it asks for ${quantityText(resource, asked)} of ${words[resource]}, but ${quantityText(resource, fits)} are left of ` +
    `the ${bound}${heldText(resource, holders)}`
  );
}

function heldText(resource: ResourceName, holders: Shortfall["holders"]): string {
  if (holders.length === 0) return "";
  const named = holders
    .slice(0, namedHolders)
    .map(({ owner, amount }) => `${owner.name} (${quantityText(resource, amount)})`);
  const more = holders.length - named.length;
  return `, held by ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function wayOut(short: readonly Shortfall[]): string {
  const fits = short.map(({ resource, fits }) => `${quantityText(resource, fits)} of ${words[resource]}`).join(" and ");
  const lower = short.map(({ resource }) => flags[resource]).join(" and ");
  const biggest = short.flatMap(
    ({ holders, asked, fits }) => holders.find(({ amount }) => amount >= asked - fits) ?? [],
  );
  const stop = biggest[0] === undefined ? "" : `stop ${biggest[0].owner.name}, `;
  const widen = short.map(({ resource }) => `--overcommit-${resource}`).join(" and ");
  return `${fits} would fit: ${stop}lower ${lower}, or start the engine with a higher ${widen}`;
}

const words: Readonly<Record<ResourceName, string>> = {
  cpu: "CPU time",
  memory: "memory",
  pids: "processes",
  disk: "disk space",
};

/** What states the request, in docker's words where it has them. */
const flags: Readonly<Record<ResourceName, string>> = {
  cpu: "--cpus",
  memory: "--memory (or reserve less of it with --memory-reservation)",
  pids: "--pids-limit",
  disk: "the label berth.request.disk",
};

/** "1.5 CPUs", "512 MiB", "100". */
function quantityText(resource: ResourceName, amount: number): string {
  switch (resource) {
    case "cpu":
      return `${Number((amount / 1e9).toFixed(3))} CPUs`;
    case "memory":
    case "disk":
      return sizeText(amount);
    case "pids":
      return String(amount);
  }
}
