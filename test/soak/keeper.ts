/** A container that nobody touches: no kill of the engine, no fault and no prune may ever be seen by it. */
import { messageOf } from "../../src/base/errors.ts";
import type { EngineClient } from "../../src/client/engine-client.ts";
import { faultInLines } from "./numbered-lines.ts";
import type { World } from "./soak-client.ts";
import type { ContainerView } from "./steps/look.ts";
import { frames } from "./steps/talk.ts";

const name = "soak-keeper";

export class Keeper {
  readonly #world: World;
  readonly #port: number;
  readonly #first: ContainerView;
  /** A full disk has made holes in its log. */
  torn = false;

  private constructor(world: World, port: number, first: ContainerView) {
    this.#world = world;
    this.#port = port;
    this.#first = first;
  }

  static async start(world: World, port: number): Promise<Keeper> {
    using client = world.engine.client();
    await client.call("POST", "/containers/create", {
      query: { name },
      body: {
        Image: world.image,
        Cmd: ["sh", "-c", "httpd -p 80 -h /etc; n=0; while :; do n=$((n+1)); echo line $n; sleep 1; done"],
        ExposedPorts: { "80/tcp": {} },
        HostConfig: { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: String(port) }] } },
      },
    });
    await client.call("POST", `/containers/${name}/start`);
    return new Keeper(world, port, await inspect(client));
  }

  /** What is wrong with it. */
  async faults(): Promise<readonly string[]> {
    using client = this.#world.engine.client();
    const { Id, State } = await inspect(client);
    const first = this.#first;
    if (Id !== first.Id || State.Status !== "running" || State.Pid !== first.State.Pid)
      return [`the container that nobody touched is ${State.Status} with process ${State.Pid}, not ${first.State.Pid}`];
    if (State.StartedAt !== first.State.StartedAt)
      return [`the container that nobody touched was started at ${first.State.StartedAt}, now at ${State.StartedAt}`];
    const faults: string[] = [];
    const url = `http://127.0.0.1:${this.#port}/passwd`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(
      (response) => response.status,
      reasonOf,
    );
    if (answer !== 200) faults.push(`the port of the container that nobody touched answers ${answer}`);
    const { body } = await client.stream("GET", `/containers/${name}/logs`, { query: { stdout: true } });
    const lines = await frames(body);
    const fault = faultInLines(lines, { fromStart: true });
    if (fault !== undefined && !this.torn) faults.push(`the log of the container that nobody touched: ${fault}`);
    return faults;
  }

  async remove(): Promise<void> {
    using client = this.#world.engine.client();
    await client.call("DELETE", `/containers/${name}`, { query: { force: true, v: true } });
  }
}

async function inspect(client: EngineClient): Promise<ContainerView> {
  return await client.call<ContainerView>("GET", `/containers/${name}/json`);
}

/** What lies behind a failed `fetch`. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return messageOf(cause ?? error);
}
