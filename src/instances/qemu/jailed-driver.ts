import type { OpContext } from "../../base/op-context.ts";
import type { DriverHandle } from "../../schema/instance.ts";
import type { Driver, Recovered, TaskExit, TaskIo, TerminalSize } from "../driver.ts";

/** What machines in jails have in common: the verbs that mean the jail, which is a container. */
export abstract class JailedDriver {
  protected readonly containers: Driver;
  readonly #jailOf: (handle: DriverHandle) => DriverHandle;

  constructor(containers: Driver, jailOf: (handle: DriverHandle) => DriverHandle) {
    this.containers = containers;
    this.#jailOf = jailOf;
  }

  expectStart(): void {
    this.containers.expectStart();
  }

  async recover(ctx: OpContext, handle: DriverHandle): Promise<Recovered> {
    return await this.containers.recover(ctx, this.#jailOf(handle));
  }

  async wait(ctx: OpContext, handle: DriverHandle): Promise<TaskExit> {
    return await this.containers.wait(ctx, this.#jailOf(handle));
  }

  async signal(ctx: OpContext, handle: DriverHandle, signal: number): Promise<void> {
    await this.containers.signal(ctx, this.#jailOf(handle), signal);
  }

  async pause(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.containers.pause(ctx, this.#jailOf(handle));
  }

  async resume(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.containers.resume(ctx, this.#jailOf(handle));
  }

  async attach(ctx: OpContext, handle: DriverHandle): Promise<TaskIo> {
    return await this.containers.attach(ctx, this.#jailOf(handle));
  }

  async resize(ctx: OpContext, handle: DriverHandle, size: TerminalSize): Promise<void> {
    await this.containers.resize(ctx, this.#jailOf(handle), size);
  }

  async processes(ctx: OpContext, handle: DriverHandle): Promise<readonly number[]> {
    return await this.containers.processes(ctx, this.#jailOf(handle));
  }

  async reopenLog(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.containers.reopenLog(ctx, this.#jailOf(handle));
  }

  async destroy(ctx: OpContext, handle: DriverHandle): Promise<void> {
    await this.containers.destroy(ctx, this.#jailOf(handle));
  }
}
