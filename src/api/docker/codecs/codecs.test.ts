import { humanDuration } from "../../../base/human-duration.ts";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EngineEvent } from "../../../schema/event.ts";
import { commitConfig } from "./commit-config.ts";
import { eventFilter, eventLine } from "./event-json.ts";
import { humanSize } from "./human.ts";
import { decodeRegistryAuth, decodeRegistryConfig } from "./registry-auth.ts";
import { repositoryReference } from "./repository-reference.ts";
import { parseUnixNano, parseUntil } from "./timestamps.ts";
import { progressBar } from "../streams/progress-bar.ts";

const second = 1000;
const hour = 3600 * second;

describe("human", () => {
  it.each([
    [0, "Less than a second"],
    [second, "1 second"],
    [59 * second, "59 seconds"],
    [60 * second, "About a minute"],
    [45 * 60 * second, "45 minutes"],
    [61 * 60 * second, "About an hour"],
    [47 * hour, "47 hours"],
    [72 * hour, "3 days"],
    [24 * 20 * hour, "2 weeks"],
    [24 * 100 * hour, "3 months"],
    [24 * 365 * 3 * hour, "3 years"],
  ])("shows %i ms as %s", (ms, text) => expect(humanDuration(ms)).toBe(text));

  it.each([
    [0, "0B"],
    [999, "999B"],
    [1000, "1kB"],
    [1_234_567, "1.235MB"],
  ])("shows %i bytes as %s", (bytes, text) => expect(humanSize(bytes)).toBe(text));

  it("draws a bar as long as Docker's", () => {
    expect(progressBar(50, 100)).toBe(`[${"=".repeat(25)}>${" ".repeat(25)}]      50B/100B`);
    expect(progressBar(50, 0)).toBe("     50B");
  });
});

describe("event-json", () => {
  const event: EngineEvent = {
    type: "container",
    action: "health_status: healthy",
    actorId: "abc",
    attributes: { name: "web", image: "nginx:1", tier: "front" },
    timeNano: "1700000000123456789",
  };

  it("keeps nanoseconds exact, which no double could", () => {
    expect(eventLine(event)).toContain('"timeNano":1700000000123456789');
    expect(JSON.parse(eventLine(event))).toMatchObject({
      status: event.action,
      id: "abc",
      from: "nginx:1",
      time: 1_700_000_000,
    });
  });

  it.each([
    [{ type: ["container"] }, true],
    [{ type: ["image", "container"] }, true],
    [{ type: ["image"] }, false],
    [{ event: ["health_status"] }, true],
    [{ event: ["health"] }, false],
    [{ container: ["web"] }, true],
    [{ container: ["ab"] }, true],
    [{ container: ["other"] }, false],
    [{ image: ["nginx"] }, true],
    [{ image: ["nginx:2"] }, false],
    [{ label: ["tier=front"] }, true],
    [{ label: ["tier=back"] }, false],
    [{ network: ["web"] }, false],
    [{ type: ["container"], event: ["start"] }, false],
  ])("filters by %j", (filters, passes) => expect(eventFilter(filters)(event)).toBe(passes));
});

describe("timestamps", () => {
  it("reads seconds with a fraction exactly", () => {
    expect(parseUnixNano("since", "1700000000.5")).toBe(1_700_000_000_500_000_000n);
    expect(parseUnixNano("since", "1700000000.123456789")).toBe(1_700_000_000_123_456_789n);
    expect(parseUnixNano("since", "")).toBeUndefined();
    expect(() => parseUnixNano("since", "yesterday")).toThrow("since");
  });

  it("reads moments, times and durations of filters", () => {
    const now = Date.parse("2026-01-02T00:00:00Z");
    expect(parseUntil("until", "24h", now)).toBe(Date.parse("2026-01-01T00:00:00Z"));
    expect(parseUntil("until", "1h30m", now)).toBe(now - 90 * 60 * 1000);
    expect(parseUntil("until", "2026-01-01T00:00:00Z", now)).toBe(Date.parse("2026-01-01T00:00:00Z"));
    expect(parseUntil("until", "1700000000", now)).toBe(1_700_000_000_000);
    expect(() => parseUntil("until", "soon", now)).toThrow('failed to parse value as time or duration: "soon"');
  });
});

describe("registry-auth", () => {
  it("reads base64url, and takes what it can't read for none", () => {
    const header = Buffer.from(JSON.stringify({ username: "a>?", password: "b" })).toString("base64url");
    expect(decodeRegistryAuth(header)).toEqual({ username: "a>?", password: "b" });
    expect(decodeRegistryAuth("%%%")).toBeUndefined();
    expect(decodeRegistryAuth(Buffer.from("{}").toString("base64"))).toBeUndefined();
    expect(decodeRegistryAuth(undefined)).toBeUndefined();
  });

  it("reads the auth field, and names registries by host", () => {
    const config = { "https://index.docker.io/v1/": { auth: Buffer.from("u:p:q").toString("base64") } };
    const header = Buffer.from(JSON.stringify(config)).toString("base64url");
    expect(decodeRegistryConfig(header)).toEqual({ "docker.io": { username: "u", password: "p:q" } });
  });

  it("never throws", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        decodeRegistryAuth(text);
        decodeRegistryConfig(text);
      }),
    );
  });
});

describe("repositoryReference", () => {
  it.each([
    ["debian", "12", "debian:12"],
    ["host:5000/a", "1", "host:5000/a:1"],
    ["debian:11", "12", "debian:12"],
    ["debian", "sha256:aa", "debian@sha256:aa"],
    ["debian", "", "debian"],
    ["debian:", "", "debian"],
  ])("joins %s and %s", (repository, tag, reference) => expect(repositoryReference(repository, tag)).toBe(reference));
});

describe("commitConfig", () => {
  it("states nothing for an empty body, and only what was given else", () => {
    expect(commitConfig({})).toBeUndefined();
    expect(commitConfig({ User: "", Cmd: ["a"], ExposedPorts: { "80/tcp": {} } })).toEqual({
      Cmd: ["a"],
      ExposedPorts: { "80/tcp": {} },
    });
  });
});
