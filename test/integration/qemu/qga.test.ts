/** The client of the guest agent against qemu-ga itself, which runs here, on this host, on a unix socket in place of a port. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { background } from "../../../src/base/op-context.ts";
import { runInGuest } from "../../../src/qemu/guest-exec.ts";
import { readSmallGuestFile, writeGuestFile } from "../../../src/qemu/guest-files.ts";
import { GuestAgent } from "../../../src/qemu/qga-client.ts";
import { connectUnix } from "../../../src/qemu/unix-socket.ts";

const ctx = background();

test("qemu-ga runs commands, moves files, tells addresses, and answers past what others left", async () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-qga-"));
  const path = join(dir, "qga.sock");
  // Nothing that stops or changes this host.
  const denied = "guest-shutdown,guest-set-time,guest-fsfreeze-freeze,guest-set-vcpus,guest-set-memory-blocks";
  const words = ["-m", "unix-listen", "-p", path, "-t", dir, "-f", join(dir, "pid"), "-b", denied];
  const child = spawn(process.env["BERTH_TEST_QEMU_GA"] ?? "qemu-ga", words, { stdio: "ignore" });
  const exited = new Promise((resolve) => child.once("close", resolve));
  try {
    for (let n = 0; n < 1000 && !existsSync(path); n++) await delay(10);
    const other = await connectUnix(ctx, path);
    other.write('{"execute":"guest-ping"}\n{"execute": "guest-in');
    await delay(100);
    other.destroy();

    using agent = new GuestAgent(path);
    const { commands } = await agent.info(ctx);
    expect(commands).toContain("guest-exec");
    expect(commands).not.toContain("guest-shutdown");
    const input = Buffer.from("given");
    const exit = await runInGuest(ctx, agent, { argv: ["sh", "-c", "cat; echo $A >&2; exit 3"], env: ["A=b"], input });
    expect([exit.code, exit.stdout.toString(), exit.stderr.toString()]).toEqual([3, "given", "b\n"]);
    expect(await runInGuest(ctx, agent, { argv: ["sh", "-c", "kill -9 $$"] })).toMatchObject({ signal: 9, code: 137 });
    await expect(runInGuest(ctx, agent, { argv: ["/no/such"] })).rejects.toMatchObject({ code: "QGA_REFUSED" });

    const file = join(dir, "file");
    const bytes = Buffer.alloc(200_000, "berth");
    await writeGuestFile(ctx, agent, file, [bytes]);
    expect(readFileSync(file).equals(bytes)).toBe(true);
    expect((await readSmallGuestFile(ctx, agent, file, 1_000_000)).equals(bytes)).toBe(true);
    await expect(readSmallGuestFile(ctx, agent, join(dir, "none"), 10)).rejects.toThrow("No such file or directory");

    const loopback = (await agent.interfaces(ctx)).find(({ name }) => name === "lo");
    expect(loopback?.addresses).toContain("127.0.0.1/8");
    expect(await agent.isFrozen(ctx)).toBe(false);
    await expect(agent.shutdown(ctx)).rejects.toMatchObject({ code: "QGA_REFUSED" });
  } finally {
    child.kill("SIGKILL");
    await exited;
    rmSync(dir, { recursive: true });
  }
});
