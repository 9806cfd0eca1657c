/** Looks at a thing, holds it against the model, and believes what it saw. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../../src/base/errors.ts";
import type { SoakClient } from "../soak-client.ts";

/** Where the version of an image is written. */
export const markLabel = "soak.mark";

export interface ContainerView {
  readonly Id: string;
  readonly Name: string;
  readonly State: {
    readonly Status: string;
    readonly ExitCode: number;
    readonly Pid: number;
    readonly StartedAt: string;
    readonly Error: string;
    readonly Health?: { readonly Status: string };
  };
}

/** Its state now. */
export async function look(client: SoakClient, key: string): Promise<string> {
  const [kind = "", name = ""] = key.split(" ");
  if (client.isUnsteady(name) && client.facts.certain(key) !== "absent") client.unsettle(name);
  const seen = await stateOf(client, kind, name);
  const fault = client.facts.observe(key, seen);
  if (fault !== undefined) client.complain(fault);
  if (client.isUnsteady(name) && seen !== "absent") client.unsettle(name);
  return seen;
}

async function stateOf(client: SoakClient, kind: string, name: string): Promise<string> {
  switch (kind) {
    case "container": {
      const found = await findContainer(client, name);
      return found === undefined ? "absent" : containerState(found);
    }
    case "image": {
      type Image = { readonly Config: { readonly Labels?: Readonly<Record<string, string>> | null } };
      const found = await orAbsent(() => client.call<Image>("GET", `/images/${name}/json`));
      return found === undefined ? "absent" : (found.Config.Labels?.[markLabel] ?? "unmarked");
    }
    case "network": {
      return (await orAbsent(() => client.call("GET", `/networks/${name}`))) === undefined ? "absent" : "present";
    }
    case "volume": {
      const found = await orAbsent(() => client.call<{ readonly Mountpoint: string }>("GET", `/volumes/${name}`));
      return found === undefined ? "absent" : `mark:${contentOf(join(found.Mountpoint, "mark"))}`;
    }
    default:
      throw new Error(`a ${kind} can't be looked at`);
  }
}

/** By its name or the one that it has for a moment; given its own again. */
async function findContainer(client: SoakClient, name: string): Promise<ContainerView | undefined> {
  const found = await orAbsent(() => client.call<ContainerView>("GET", `/containers/${name}/json`));
  if (found !== undefined) return found;
  const renamed = await orAbsent(() => client.call<ContainerView>("GET", `/containers/${name}-renamed/json`));
  if (renamed === undefined) return undefined;
  if (client.facts.certain(`name ${name}`) === "absent") client.complain(`${name} is called ${renamed.Name}`);
  await client.call("POST", `/containers/${name}-renamed/rename`, { query: { name } });
  client.facts.know(`name ${name}`, "absent");
  return renamed;
}

export function containerState({ State }: ContainerView): string {
  return State.Status === "exited" ? `stopped:${State.ExitCode}` : State.Status;
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return ""; // Nobody has written it.
  }
}

async function orAbsent<T>(get: () => Promise<T>): Promise<T | undefined> {
  try {
    return await get();
  } catch (error) {
    if (error instanceof BerthError && error.status === 404) return undefined;
    throw error;
  }
}
