import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { renderApiReference } from "./api-reference.ts";

it("docs/api.md is what the route tables say; run scripts/generate-docs.ts after changing them", async () => {
  const written = await readFile(new URL("../../../docs/api.md", import.meta.url), "utf8");
  expect(written).toBe(renderApiReference());
});
