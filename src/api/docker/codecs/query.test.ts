import { describe, expect, it } from "vitest";
import { ListContainersQuery, StatsQuery, StopQuery } from "../../../schema/docker/container.ts";
import { BuildQuery } from "../../../schema/docker/build.ts";
import { decodeQuery, parseFlag } from "./query.ts";

describe("decodeQuery", () => {
  it.each(["1", "true", "True", "t", "T", "yes", "anything"])("takes %s for true", (word) => {
    expect(parseFlag(word)).toBe(true);
  });
  it.each(["", "0", "false", "False", "no", "none", " NONE "])("takes %j for false", (word) => {
    expect(parseFlag(word)).toBe(false);
  });

  it("uses a flag's own default when it is absent, and false when it is empty", () => {
    expect(decodeQuery(StatsQuery, {})).toEqual({ stream: true, "one-shot": false });
    expect(decodeQuery(StatsQuery, { stream: "" }).stream).toBe(false);
  });

  it("reads both spellings of filters", () => {
    const filters = { label: ["a", "b=c"] };
    expect(decodeQuery(ListContainersQuery, { filters: JSON.stringify(filters) }).filters).toEqual(filters);
    const old = { label: { a: true, "b=c": true, off: false } };
    expect(decodeQuery(ListContainersQuery, { filters: JSON.stringify(old) }).filters).toEqual(filters);
  });

  it("refuses unknown filters by name, and broken ones", () => {
    expect(() => decodeQuery(ListContainersQuery, { filters: '{"nope":["x"]}' })).toThrow("invalid filter 'nope'");
    expect(() => decodeQuery(ListContainersQuery, { filters: "{" })).toThrow("filters");
    expect(() => decodeQuery(ListContainersQuery, { filters: '{"label":[1]}' })).toThrow("label must hold strings");
  });

  it("refuses numbers that are none, in Go's words", () => {
    expect(() => decodeQuery(StopQuery, { t: "ten" })).toThrow('strconv.Atoi: parsing "ten": invalid syntax');
    expect(decodeQuery(StopQuery, { t: "-1" }).t).toBe(-1);
  });

  it("keeps repeated parameters, and validates JSON ones", () => {
    const query = decodeQuery(BuildQuery, { t: ["a", "b"], buildargs: '{"A":"1","B":null}' });
    expect(query.t).toEqual(["a", "b"]);
    expect(query.buildargs).toEqual({ A: "1", B: null });
    expect(query.rm).toBe(true);
    // Compose writes null for what its file doesn't say.
    expect(decodeQuery(BuildQuery, { cachefrom: "null", ulimits: "null" })).not.toHaveProperty("cachefrom");
    expect(() => decodeQuery(BuildQuery, { buildargs: '{"A":1}' })).toThrow("buildargs");
    expect(() => decodeQuery(BuildQuery, { labels: "[]" })).toThrow("labels");
  });
});
