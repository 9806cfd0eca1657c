import { messageOf } from "../base/errors.ts";
import type { OpContext } from "../base/op-context.ts";
import type { Repository } from "./registry/repository.ts";

/** The repositories that a pull may use, connected to only when the ones before have failed. */
export class PullSources {
  readonly #rest: AsyncGenerator<Repository>;
  readonly #known: Repository[] = [];

  constructor(repositories: AsyncGenerator<Repository>) {
    this.#rest = repositories;
  }

  /** The `index`-th; undefined beyond the last. Throws what the registry itself answers when it can't be reached. */
  async at(index: number): Promise<Repository | undefined> {
    for (;;) {
      const known = this.#known[index];
      if (known !== undefined) return known;
      const { done, value } = await this.#rest.next();
      if (done === true) return this.#known[index];
      this.#known.push(value);
    }
  }

  /** Does `work` with the first source that can, from `start` on; the last one's failure is the caller's. */
  async firstThat<T>(
    ctx: OpContext,
    start: number,
    work: (source: Repository) => Promise<T>,
  ): Promise<{ readonly index: number; readonly result: T }> {
    let failure: unknown = new Error("unreachable: there is always the registry itself");
    for (let index = start; ; index += 1) {
      const source = await this.at(index);
      if (source === undefined) throw failure;
      try {
        return { index, result: await work(source) };
      } catch (error) {
        if (ctx.signal.aborted || !source.connection.endpoint.mirror) throw error;
        failure = error;
        ctx.log.warn(
          { registry: source.connection.endpoint.host, error: messageOf(error) },
          "registry mirror failed, trying the next source",
        );
      }
    }
  }
}
