/** Whole-OS machines by the command line and the API, with a guest of one sector: its whole life takes a second under emulation. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { MachinesClient } from "../../src/client/machines.ts";
import { agentIso } from "../support/agent-iso.ts";
import { EngineProcess } from "../support/engine-process.ts";
import { assertNothingLeft } from "../support/leaks.ts";
import { runCommand } from "../support/run-command.ts";
import { tinyDisk, tinyIso } from "../support/tiny-os.ts";

const small = ["--memory", "64MiB"];
const slowMs = 60_000;

describe("whole-OS machines", () => {
  let engine: EngineProcess;
  let scratch: string;
  let disk: string;
  const machine = (...words: readonly string[]) => engine.berth("machine", ...words);
  const inspect = async (name: string) => await new MachinesClient(engine.client()).inspect(name);

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "berth-machines-"));
    if (!existsSync("dist/guest/berth-vmm")) execFileSync("sh", ["guest/build.sh"]);
    disk = tinyDisk(scratch);
    engine = await EngineProcess.start();
  });
  afterEach(async () => {
    for (const { name } of await new MachinesClient(engine.client()).list()) await machine("rm", "-f", name);
    // Neither a machine that was removed nor one that was not made leaves a file.
    expect(readdirSync(join(engine.dataRoot, "instances"))).toEqual([]);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true });
    await engine.remove();
    await assertNothingLeft(engine);
  });

  async function create(name: string, ...words: readonly string[]): Promise<void> {
    const made = await machine("create", name, "--disk-file", disk, ...small, ...words);
    expect(made).toEqual({ code: 0, stdout: `${name}\n`, stderr: "" });
  }

  async function untilLogged(name: string, text: string): Promise<string> {
    for (const deadline = Date.now() + slowMs; ; await delay(50)) {
      const { stdout } = await machine("logs", name);
      if (stdout.includes(text)) return stdout;
      if (Date.now() > deadline) throw new Error(`${name} has not said ${text}: ${stdout}`);
    }
  }

  it("boots from a disk, powers off at the button, and boots again with what it had", async () => {
    await create("m-life", "--cpus", "2", "--label", "tier=web");
    expect((await inspect("m-life")).status).toBe("created");
    await machine("start", "m-life");
    const said = await untilLogged("m-life", "tiny is up");
    expect(said).toContain("Booting from Hard Disk");
    expect(said.slice(said.indexOf("Booting from"))).not.toContain("\r\r\n");
    const running = await inspect("m-life");
    expect(running).toMatchObject({ status: "running", cpus: 2, memory: 64 * 1024 ** 2, labels: { tier: "web" } });
    const [nic] = running.nics;
    expect(nic?.mac).toMatch(/^52:54:00:/);
    expect(nic?.address).toMatch(/^\d+\.\d+\.\d+\.\d+\/\d+$/);
    expect(existsSync(running.vncSocket)).toBe(true);
    expect((await machine("ls")).stdout).toMatch(/m-life +up .* linux +2 +64 MiB +1 MiB/);

    expect(await machine("stop", "m-life")).toEqual({ code: 0, stdout: "m-life\n", stderr: "" });
    expect(await inspect("m-life")).toMatchObject({ status: "exited", exitCode: 0 });
    await machine("start", "m-life");
    await untilLogged("m-life", "tiny is up");
    expect((await inspect("m-life")).nics[0]?.mac).toBe(nic?.mac);
  });

  it("has its serial console in a terminal, and ends with the guest's own power-off", async () => {
    await create("m-console", "--start");
    await untilLogged("m-console", "tiny is up");
    const { id } = await inspect("m-console");
    using client = engine.client();
    const { socket } = await client.upgrade("POST", `/containers/${id}/attach`, {
      query: { stream: true, stdin: true, stdout: true },
    });
    socket.write("hello");
    let heard = "";
    socket.on("data", (bytes: Buffer) => {
      heard += bytes.toString();
    });
    await expect.poll(() => heard, { timeout: slowMs }).toContain("hello");
    const ended = new Promise((resolve) => socket.once("close", resolve));
    socket.write("q");
    await ended;
    await expect.poll(async () => (await inspect("m-console")).status, { timeout: slowMs }).toBe("exited");
    expect((await inspect("m-console")).exitCode).toBe(0);
  });

  it("is reset in place, by the button and by itself", async () => {
    await create("m-reset", "--start");
    await untilLogged("m-reset", "tiny is up");
    const { startedAt } = await inspect("m-reset");
    const boots = async () => (await machine("logs", "m-reset")).stdout.split("tiny is up").length - 1;
    expect(await machine("reset", "m-reset")).toMatchObject({ code: 0 });
    await expect.poll(boots, { timeout: slowMs }).toBe(2);
    using client = engine.client();
    const { socket } = await client.upgrade("POST", `/containers/m-reset/attach`, {
      query: { stream: true, stdin: true, stdout: true },
    });
    socket.write("r");
    await expect.poll(boots, { timeout: slowMs }).toBe(3);
    socket.destroy();
    expect(await inspect("m-reset")).toMatchObject({ status: "running", startedAt });
  });

  it("names a guest that ignores the power button, and pulls the plug only when it may", async () => {
    await create("m-deaf", "--start");
    await untilLogged("m-deaf", "tiny is up");
    using client = engine.client();
    const { socket } = await client.upgrade("POST", "/containers/m-deaf/attach", {
      query: { stream: true, stdin: true, stdout: true },
    });
    const echoed = new Promise((resolve) => socket.once("data", resolve));
    socket.write("m");
    await echoed;
    socket.destroy();
    expect(await machine("stop", "m-deaf", "--timeout", "1", "--or-fail")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/has not powered off within 1 s: it ignores the power button.*\n.*--force/),
    });
    expect((await inspect("m-deaf")).status).toBe("running");
    expect(await machine("stop", "m-deaf", "--timeout", "1")).toEqual({
      code: 0,
      stdout: "m-deaf\n",
      stderr: "Warning: m-deaf did not power off in time: forced\n",
    });
    expect(await inspect("m-deaf")).toMatchObject({ status: "exited", exitCode: 137 });
  });

  it("goes on when the engine is killed, and is found again with its console", async () => {
    await create("m-crash", "--start");
    await untilLogged("m-crash", "tiny is up");
    const before = await inspect("m-crash");
    await engine.crash();
    await engine.boot();
    expect(await inspect("m-crash")).toMatchObject({ status: "running", startedAt: before.startedAt });
    await machine("reset", "m-crash");
    await expect
      .poll(async () => (await machine("logs", "m-crash")).stdout.split("tiny is up").length, { timeout: slowMs })
      .toBe(3);
    expect(await machine("stop", "m-crash")).toMatchObject({ code: 0, stderr: "" });
  });

  it("tells the last words of a QEMU that dies", async () => {
    await create("m-dies", "--start");
    await untilLogged("m-dies", "tiny is up");
    const { stdout } = await runCommand("pgrep", ["-f", "guest=m-dies"]);
    // berth-vmm's own line does not name the guest.
    process.kill(Number(stdout.trim().split("\n")[0]), "SIGKILL");
    await expect.poll(async () => (await inspect("m-dies")).status, { timeout: slowMs }).toBe("exited");
    expect((await inspect("m-dies")).exitCode).toBe(137);
    expect((await machine("logs", "m-dies")).stdout).toContain(
      "the virtual machine ended unexpectedly: QEMU with signal 9",
    );
    expect(await machine("start", "m-dies")).toMatchObject({ code: 0 });
  });

  it("is one of Docker's containers, too: listed, renamed, paused, logged", async () => {
    await create("m-docker", "--start", "--network", "none");
    await untilLogged("m-docker", "tiny is up");
    expect((await engine.docker("ps", "--format", "{{.Names}} {{.Image}}")).stdout).toBe("m-docker tiny.img\n");
    expect((await engine.docker("logs", "m-docker")).stdout).toContain("tiny is up");
    expect(await engine.docker("pause", "m-docker")).toMatchObject({ code: 0 });
    expect((await inspect("m-docker")).status).toBe("paused");
    expect(await engine.docker("unpause", "m-docker")).toMatchObject({ code: 0 });
    expect(await machine("rename", "m-docker", "m-renamed")).toMatchObject({ code: 0 });
    expect((await machine("ls", "-q")).stdout).toBe("m-renamed\n");
    expect(await engine.docker("update", "-m", "128m", "m-renamed")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("berth machine resize"),
    });
  });

  it("boots from an ISO beside a blank disk, and refuses one that its firmware can't boot", async () => {
    const iso = tinyIso(scratch);
    const bare = ["create", "m-iso", "--disk", "1GiB", ...small];
    expect(await machine(...bare, "--iso", tinyIso(scratch, { boots: false }))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("does not boot: it has no boot record (El Torito)"),
    });
    expect(await machine(...bare, "--iso", iso, "--firmware", "uefi")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no boot record for uefi.*\n.*--firmware bios/),
    });
    expect(await machine(...bare, "--iso", disk)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is no ISO 9660 image"),
    });
    expect(await machine(...bare, "--iso", iso, "--start")).toMatchObject({ code: 0 });
    // The machine's own: the user's may go.
    rmSync(iso);
    expect(await untilLogged("m-iso", "tiny is up")).toContain("Booting from DVD/CD");
    const { hardware } = await inspect("m-iso");
    expect(hardware).toMatchObject({ boot: ["root", "cd0"], disks: [{ size: 1024 ** 3 }], cdroms: [{ source: iso }] });
  });

  it("is made from the disk in an image, which may go before it", async () => {
    const context = join(scratch, "image");
    mkdirSync(context, { recursive: true });
    execFileSync("qemu-img", ["convert", "-O", "qcow2", disk, join(context, "tiny.qcow2")]);
    writeFileSync(join(context, "Dockerfile"), "FROM scratch\nCOPY tiny.qcow2 /disk/\n");
    expect(await engine.docker("build", "-q", "-t", "machine/tiny:1", context)).toMatchObject({ code: 0 });
    for (const name of ["m-one", "m-two"]) {
      expect(await machine("create", name, "--image", "tiny:1", "--disk", "20MiB", ...small)).toMatchObject({
        code: 0,
      });
    }
    const bases = join(engine.dataRoot, "machines", "bases");
    expect(readdirSync(bases)).toHaveLength(1);
    expect(await engine.docker("rmi", "machine/tiny:1")).toMatchObject({ code: 0 });
    await machine("start", "m-one", "m-two");
    await untilLogged("m-one", "tiny is up");
    await untilLogged("m-two", "tiny is up");
    expect((await inspect("m-one")).hardware.disks).toMatchObject([{ size: 20 * 1024 ** 2, format: "qcow2" }]);
    await machine("rm", "-f", "m-one");
    expect(readdirSync(bases)).toHaveLength(1);
    await machine("rm", "-f", "m-two");
    expect(readdirSync(bases)).toEqual([]);
  });

  it("is refused by name, and leaves nothing, where it can't be made or started", async () => {
    expect(await machine("create", "m-none")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/needs something to boot from\n.*--image/),
    });
    expect(await machine("create", "m-none", "--image", "no-such")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("there is no image no-such here"),
    });
    expect(
      await machine("create", "m-none", "--disk-file", disk, "--network", "bridge", "--nic", "default"),
    ).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("two network cards on one network"),
    });
    expect(await machine("create", "m-none", "--disk-file", disk, "--memory", "8MiB")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("less than 16 MiB of memory"),
    });
    const huge = ["create", "m-none", "--disk-file", disk, "--memory", "100TiB", "--start"];
    expect(await machine(...huge)).toMatchObject({ code: 1, stderr: expect.stringContaining("memory") });
    const qcow2 = join(scratch, "hostile.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", qcow2, "1M"]);
    expect(await machine("create", "m-none", "--disk-file", qcow2)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('its contents are partly in another file, "/etc/passwd"'),
    });
    expect((await machine("ls", "-q")).stdout).toBe("");
    expect(await machine("start", "m-none")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("No such machine: m-none"),
    });
  });

  it("is not started while another process has its disk open", async () => {
    await create("m-locked");
    const { disksDirectory } = await inspect("m-locked");
    const holder = spawn("qemu-io", [join(disksDirectory, "root.qcow2")], { stdio: ["pipe", "pipe", "ignore"] });
    try {
      await new Promise((resolve) => holder.stdout.once("data", resolve));
      expect(await machine("start", "m-locked")).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/another process uses one of its disks/),
      });
      expect(await inspect("m-locked")).toMatchObject({ status: "created", error: expect.stringContaining("lock") });
    } finally {
      holder.stdin.end("quit\n");
      await new Promise((resolve) => holder.once("close", resolve));
    }
    expect(await machine("start", "m-locked")).toMatchObject({ code: 0 });
  });

  it("comes up with UEFI and a TPM, whose emulator ends with it", async () => {
    await create("m-uefi", "--firmware", "uefi", "--tpm", "--start", "--memory", "256MiB");
    await untilLogged("m-uefi", "BdsDxe");
    const { id } = await inspect("m-uefi");
    expect((await engine.docker("top", "m-uefi")).code).toBe(1); // Its own business, and its agent is not there.
    expect(readdirSync(join(engine.dataRoot, "instances", id, "tpm"))).toContain("tpm2-00.permall");
    expect(await machine("stop", "--force", "m-uefi")).toMatchObject({ code: 0 });
  });

  it("asks the guest's agent for commands, files and addresses, which the network has leased", async () => {
    const iso = await agentIso(scratch);
    const words = ["--iso", iso, "--disk", "64MiB", "--memory", "256MiB", "--start"];
    expect(await machine("create", "m-agent", ...words)).toMatchObject({ code: 0 });
    await untilLogged("m-agent", "agent is up");
    const [nic] = (await inspect("m-agent")).nics;
    expect((await machine("ip", "m-agent")).stdout).toMatch(new RegExp(`eth0 .*${nic?.mac} .*${nic?.address}.* agent`));
    expect(await machine("ip", "-q", "m-agent")).toMatchObject({ stdout: `${nic?.address.split("/")[0]}\n` });

    const script = 'echo "$A $(uname -s)"; echo err >&2; exit 7';
    expect(await machine("exec", "-e", "A=b", "m-agent", "sh", "-c", script)).toEqual({
      code: 7,
      stdout: "b Linux\n",
      stderr: "err\n",
    });
    expect(await machine("exec", "m-agent", "no-such-command")).toMatchObject({ code: 127 });
    writeFileSync(join(scratch, "given"), "x".repeat(100_000));
    expect(await machine("cp", join(scratch, "given"), "m-agent:/tmp/taken")).toMatchObject({ code: 0 });
    expect((await machine("exec", "m-agent", "wc", "-c", "/tmp/taken")).stdout).toContain("100000");
    expect(await engine.docker("cp", "m-agent:/etc", join(scratch, "etc"))).toMatchObject({ code: 0 });
    expect(readFileSync(join(scratch, "etc/passwd"), "utf8")).toContain("root:x:0:0");

    await engine.crash();
    await engine.boot();
    expect(await machine("exec", "m-agent", "--", "cat", "/proc/sys/kernel/ostype")).toMatchObject({
      stdout: "Linux\n",
    });
    expect(await machine("stop", "m-agent")).toEqual({ code: 0, stdout: "m-agent\n", stderr: "" });
  });

  it("says within seconds that no agent answers", async () => {
    await create("m-mute", "--start");
    await untilLogged("m-mute", "tiny is up");
    expect(await machine("exec", "m-mute", "true")).toMatchObject({
      code: 126,
      stdout: expect.stringMatching(/the agent in the guest has not answered .* within 10 s/),
    });
    expect((await machine("ip", "m-mute")).stdout).toMatch(/net0 +52:54:00:\S+ +\S+\/\d+ +network/);
  });
});
