import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadConfig } from "./load.ts";
import { settings } from "./settings.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-config-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const file = (text: string): string => {
  const path = join(directory, "config.json");
  writeFileSync(path, text);
  return path;
};

describe("loadConfig", () => {
  it("takes defaults, then the file, then the environment, then flags, and says which", () => {
    const { config, sources } = loadConfig({
      file: file(
        `{ "mtu": 1400, "bip": "10.1.0.1/16", "log-level": "debug", "registry-mirror": ["http://127.0.0.1:5000"] }`,
      ),
      environment: { BERTH_BIP: "10.2.0.1/16", BERTH_LOG_LEVEL: "warn" },
      flags: { "log-level": "error", "default-address-pool": ["base=10.9.0.0/16,size=24"] },
    });
    expect(config).toMatchObject({
      mtu: 1400,
      bip: "10.2.0.1/16",
      logLevel: "error",
      registryMirrors: ["http://127.0.0.1:5000"],
      addressPools: [{ base: "10.9.0.0/16", size: 24 }],
      dataRoot: "/var/lib/berth",
    });
    expect(sources).toMatchObject({ mtu: "file", bip: "environment", logLevel: "flag", dataRoot: "default" });
  });

  it.each([
    [`{ "mtuu": 1 }`, "CONFIG_KEY_UNKNOWN", /mtuu/],
    [`{ "mtu": "big" }`, "CONFIG_VALUE_INVALID", /config\.json sets mtu to "big"/],
    [`[1]`, "CONFIG_UNREADABLE", /does not hold a JSON object/],
    [`{ "mtu": `, "CONFIG_UNREADABLE", /config\.json/],
  ])("refuses the file %s", (text, code, message) => {
    const load = () => loadConfig({ file: file(text), environment: {}, flags: {} });
    expect(load).toThrow(expect.objectContaining({ code }));
    expect(load).toThrow(message);
  });

  it("refuses values of the environment by the variable's name", () => {
    expect(() => loadConfig({ environment: { BERTH_MTU: "9k" }, flags: {} })).toThrow(/BERTH_MTU sets mtu to "9k"/);
  });

  it("refuses a given file that is not there, and lives without the default one", () => {
    expect(() => loadConfig({ file: join(directory, "none.json"), environment: {}, flags: {} })).toThrow(/none\.json/);
  });
});

it("has a description and a unique spelling for every setting", () => {
  for (const setting of settings) expect(setting.description.length, setting.flag).toBeGreaterThan(5);
  expect(new Set(settings.map(({ flag }) => flag)).size).toBe(settings.length);
});
