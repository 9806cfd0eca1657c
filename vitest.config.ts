import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    pool: "forks",
    projects: [
      { test: { name: "unit", include: ["src/**/*.test.ts", "bench/**/*.test.ts", "conformance/**/*.test.ts", "test/soak/*.test.ts"], testTimeout: 20_000 } },
      {
        // Real kernel, runtimes and tools: needs root. One file at a time, so that each can check that nothing is left.
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
