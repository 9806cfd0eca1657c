/**
 * The program's entry. Words that need the host itself (the daemon, doctor, config, failpoints) go to `daemon/`, all others to `cli/`, which
 * only knows the engine's API: so that `berth ps` loads nothing of the engine.
 */
import { enableCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

// In the user's own directory: Node's default lies in /tmp, where another could have laid code out for root to run.
enableCompileCache(join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "berth"));
// `berth ps | head -1` is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
const words = process.argv.slice(2);
const hostCommands = new Set(["daemon", "doctor", "config", "failpoints"]);
const { main } = hostCommands.has(words[0] ?? "") ? await import("./daemon/main.ts") : await import("./cli/main.ts");
process.exitCode = await main(words);
