import { describe, expect, it } from "vitest";
import { ArchiveThread } from "./archive-thread.ts";
import { SourceThread } from "./source-thread.ts";
import { IdleThreads } from "./idle-threads.ts";

describe.each([
  ["an archive thread", () => new ArchiveThread()],
  ["a source thread", () => new SourceThread()],
])("%s", (_name, start) => {
  it("is given to nobody from the moment that it is to end", async () => {
    await using threads = new IdleThreads<ArchiveThread | SourceThread>(1);
    const thread = start();
    const ending = thread.terminate();
    await threads.giveBack(thread);
    expect(threads.take()).toBeUndefined();
    await ending;
  });
});
