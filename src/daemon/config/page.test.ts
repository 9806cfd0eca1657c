import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { configurationPage } from "./page.ts";

it("is what docs/configuration.md says", () => {
  expect(readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8")).toBe(configurationPage());
});
