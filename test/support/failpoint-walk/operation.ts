import type { World } from "./world.ts";

export interface Operation {
  readonly name: string;
  /** What has to be there; everything it makes is called "op…". */
  prepare(world: World): Promise<void>;
  /** Requests that are all answered, or rejects. */
  run(world: World): Promise<void>;
  /**
   * Whether all of it, or nothing, has been done; "same" where that makes no difference to be seen. Throws when it is something in
   * between, or does not work. After a failure that was told, what can't be undone may stay: a container stopped to be restarted.
   */
  state(world: World, mode?: "die" | "fail"): Promise<"before" | "after" | "same">;
  /** Further things to remove than what is called "op…". */
  tidy?(world: World): Promise<void>;
}
