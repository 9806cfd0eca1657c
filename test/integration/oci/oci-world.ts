import { execFileSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId } from "../../../src/base/ids.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { background } from "../../../src/base/op-context.ts";
import type { Host } from "../../../src/host/host.ts";
import { createLinuxHost } from "../../../src/host/linux-host.ts";
import type { Driver, PrepareRequest } from "../../../src/instances/driver.ts";
import type { DriverWorld } from "../../../src/instances/driver.contract.ts";
import { prepareRequest } from "../../../src/instances/fake/prepare-request.ts";
import { createOciDriver } from "../../../src/instances/oci/oci-driver.ts";
import type { InstanceSpec } from "../../../src/schema/instance.ts";

const ctx = background();
const cgroupRoot = "/sys/fs/cgroup";

/** A machine for one test: a directory of its own, a control group of its own, the real kernel. */
export class OciWorld implements DriverWorld {
  readonly host: Host;
  readonly driver: Driver;
  readonly dir: string;
  readonly cgroupParent: string;
  readonly runtime: string;

  private constructor(host: Host, driver: Driver, dir: string, cgroupParent: string, runtime: string) {
    this.host = host;
    this.driver = driver;
    this.dir = dir;
    this.cgroupParent = cgroupParent;
    this.runtime = runtime;
  }

  static async open(runtime: string): Promise<OciWorld> {
    const dir = await mkdtemp(join(tmpdir(), "berth-oci-"));
    const host = await createLinuxHost({ log: silentLogger });
    const cgroupParent = `/berth-test-${dir.slice(-6)}`;
    await makeRootfs(join(dir, "rootfs"));
    const driver = await makeDriver(host, dir, cgroupParent, runtime);
    return new OciWorld(host, driver, dir, cgroupParent, runtime);
  }

  async reopen(): Promise<Driver> {
    return await makeDriver(this.host, this.dir, this.cgroupParent, this.runtime);
  }

  async request(spec: InstanceSpec, overrides: Partial<PrepareRequest> = {}): Promise<PrepareRequest> {
    const id = newId();
    const dir = join(this.dir, "run", "instances", id);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return {
      ...prepareRequest(id, spec, dir),
      rootfs: join(this.dir, "rootfs"),
      cgroupPath: `${this.cgroupParent}/${id}`,
      logPath: join(this.dir, `${id}.log`),
      ...overrides,
    };
  }

  async remains(id: string): Promise<readonly string[]> {
    return [
      ...(await this.#find(join(this.dir, "run"), id)),
      ...(await cgroupsNamed(id)),
      ...(await processesNaming(id)),
      ...(await readFile("/proc/self/mountinfo", "utf8")).split("\n").filter((line) => line.includes(id)),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = await processesNaming(this.dir);
    await this.driver.collect(ctx, new Set());
    await this.host.cgroups.remove(ctx, this.cgroupParent);
    await this.host.close();
    await rm(this.dir, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`the test left ${left.join(", ")}`);
  }

  async #find(dir: string, id: string): Promise<readonly string[]> {
    const entries: readonly string[] = await readdir(dir, { recursive: true }).catch(() => []);
    return entries.filter((entry) => entry.includes(id)).map((entry) => join(dir, entry));
  }
}

async function makeDriver(host: Host, dir: string, cgroupParent: string, runtime: string): Promise<Driver> {
  const runRoot = join(dir, "run");
  return await createOciDriver({ host, config: { runtime }, runRoot, cgroupParent, log: silentLogger });
}

/** busybox's commands and the files that name users. */
async function makeRootfs(root: string): Promise<void> {
  // Mount points as well: instances that run side by side share this root, and would race to make them.
  for (const name of ["bin", "etc", "tmp", "root", "data", "proc", "sys", "dev"])
    await mkdir(join(root, name), { recursive: true });
  await copyFile("/bin/busybox", join(root, "bin/busybox"));
  const applets = execFileSync("/bin/busybox", ["--list"], { encoding: "utf8" }).trim().split("\n");
  for (const applet of applets) if (applet !== "busybox") await symlink("busybox", join(root, "bin", applet));
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
  await writeFile(join(root, "etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n");
}

async function cgroupsNamed(id: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const controller of await readdir(cgroupRoot)) {
    const parents: readonly string[] = await readdir(join(cgroupRoot, controller)).catch(() => []);
    for (const parent of parents.filter((name) => name.startsWith("berth-test-"))) {
      const children: readonly string[] = await readdir(join(cgroupRoot, controller, parent)).catch(() => []);
      if (children.includes(id)) found.push(`${controller}/${parent}/${id}`);
    }
  }
  return found;
}

/** Live processes with `text` on their command line: monitors and runtimes. */
async function processesNaming(text: string): Promise<readonly string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map(async (pid) => `${pid} ${(await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).slice(0, 400)}`),
  );
  return lines.filter((line) => line.includes(text)).map((line) => line.replaceAll("\0", " "));
}
