import { describe, expect, it, vi } from "vitest";
import { silentLogger } from "../../../base/logger.ts";
import { createDockerApi } from "../api.ts";
import { fakeBackend } from "../fake/fake-backend.ts";
import { containerSummary, summaryWriter } from "./list-container.ts";

describe("summaryWriter", () => {
  async function world() {
    const backend = fakeBackend();
    backend.images.add("busybox", { Cmd: ["sh"] });
    const api = createDockerApi({ backend, log: silentLogger });
    const url = "/containers/create?name=one";
    await api.inject({ method: "POST", url, payload: { Image: "busybox", Cmd: ["a b", "c"], Labels: { 'x"y': "}" } } });
    await api.inject({ method: "POST", url: "/containers/one/start" });
    const row = (name: string) => {
      const text = summaryWriter(backend)(backend.instances.resolve(name), "busybox", { rw: 1, rootFs: 2 });
      return JSON.parse(text) as { readonly Names: readonly string[]; readonly State: string; readonly Status: string };
    };
    return { backend, api, row };
  }

  it("writes the row that a single look makes, the first time and again", async () => {
    const { backend, row } = await world();
    const expected = containerSummary(backend.instances.resolve("one"), backend, "busybox", { rw: 1, rootFs: 2 });
    expect(row("one")).toEqual(expected);
    expect(row("one")).toEqual(expected);
  });

  it("forgets a row when its record changes", async () => {
    const { api, row } = await world();
    expect(row("one").State).toBe("running");
    await api.inject({ method: "POST", url: "/containers/one/rename?name=two" });
    expect(row("two").Names).toEqual(["/two"]);
    await api.inject({ method: "POST", url: "/containers/two/kill" });
    expect(row("two").State).not.toBe("running");
  });

  it("tells the time anew for the same record", async () => {
    const { row } = await world();
    expect(row("one").Status).toMatch(/^Up (Less than a second|\d seconds?)$/);
    vi.useFakeTimers({ now: Date.now() + 3 * 60_000, toFake: ["Date"] });
    try {
      expect(row("one").Status).toBe("Up 3 minutes");
    } finally {
      vi.useRealTimers();
    }
  });
});
