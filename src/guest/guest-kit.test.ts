import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { background } from "../base/op-context.ts";
import { FakeHost } from "../host/fake/fake-host.ts";
import { GuestKits } from "./guest-kit.ts";
import { diskModules, guestModules } from "./kernel-modules.ts";

let root: string;
let host: FakeHost;
const ctx = background();
const version = "6.1.0-9-cloud-amd64";
const kernel = Buffer.concat([
  Buffer.from("\x7fELF"),
  Buffer.from([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0]),
  Buffer.from("Xen\0"),
]);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "berth-kit-"));
  writeFileSync(join(root, "agent"), "the agent");
  host = new FakeHost();
  host.processes.script("apt-cache", () => ({
    stdout: `linux-image-cloud-amd64\n  Depends: linux-image-${version}\n`,
  }));
  host.processes.script("apt-get", ({ cwd = "" }) => {
    writeFileSync(join(cwd, `linux-image-${version}_1_amd64.deb`), "deb");
    return {};
  });
  host.processes.script("dpkg-deb", ({ argv }) => {
    unpackInto(argv.at(-1) ?? "");
    return {};
  });
});

afterEach(() => rmSync(root, { recursive: true }));

function unpackInto(directory: string): void {
  const modules = join(directory, "lib/modules", version);
  mkdirSync(modules, { recursive: true });
  mkdirSync(join(directory, "boot"));
  writeFileSync(join(modules, "modules.builtin"), "");
  for (const name of [...guestModules, ...diskModules])
    writeFileSync(join(modules, `${name}.ko`), `\0depends=\0${name}`);
  const setup = Buffer.alloc(5 * 512);
  setup.writeUInt8(4, 0x1f1);
  setup.write("HdrS", 0x202, "latin1");
  setup.writeUInt16LE(0x020f, 0x206);
  const payload = Buffer.concat([gzipSync(kernel), Buffer.alloc(4)]);
  setup.writeUInt32LE(payload.length, 0x24c);
  writeFileSync(join(directory, "boot", `vmlinuz-${version}`), Buffer.concat([setup, payload]));
}

const kits = (kernelPackage = "") => new GuestKits({ host, root, agent: join(root, "agent"), kernelPackage });

test("the first kit is downloaded and made; the next engine finds it", async () => {
  const kit = await kits().get(ctx);
  expect(kit.kernelVersion).toBe(version);
  expect(readFileSync(kit.kernel)).toEqual(kernel);
  expect(readFileSync(kit.initrd).includes("the agent")).toBe(true);
  host.processes.uninstall("apt-get");
  host.processes.uninstall("dpkg-deb");
  expect(await kits().get(ctx)).toEqual(kit);
  expect(readdirSync(root).toSorted()).toEqual(["agent", "kits", "packages"]);
});

test("another agent is another kit, made without the network; the old one is collected", async () => {
  const old = await kits().get(ctx);
  writeFileSync(join(root, "agent"), "a newer agent");
  host.processes.uninstall("apt-get");
  const kit = await kits().get(ctx);
  expect(kit.digest).not.toBe(old.digest);
  mkdirSync(join(root, "kits/draft-0123"));
  await kits().prune((digest) => digest === old.digest);
  expect(readdirSync(join(root, "kits")).toSorted()).toEqual([kit.digest, old.digest].toSorted());
  await kits().prune(() => false);
  expect(readdirSync(join(root, "kits"))).toEqual([kit.digest]);
});

test("offline: apt's own reason, the way out, and nothing half made", async () => {
  host.processes.script("apt-get", () => ({
    code: 100,
    stderr: "W: a warning\nE: Failed to fetch http://mirror/x  Could not resolve 'mirror'\n",
  }));
  await expect(kits().get(ctx)).rejects.toMatchObject({
    code: "GUEST_FETCH_FAILED",
    message: expect.stringMatching(/linux-image-6.1.0-9-cloud-amd64 .*Could not resolve 'mirror'$/),
    hint: expect.stringContaining("guest-kernel"),
  });
  expect(readdirSync(root).toSorted()).toEqual(["agent", "packages"]);
  writeFileSync(join(root, "own.deb"), "deb");
  expect((await kits(join(root, "own.deb")).get(ctx)).kernelVersion).toBe(version);
});

test("an agent that was not built, and a package without a kernel", async () => {
  rmSync(join(root, "agent"));
  await expect(kits().get(ctx)).rejects.toMatchObject({ code: "GUEST_BINARY_MISSING" });
  writeFileSync(join(root, "agent"), "x");
  host.processes.script("dpkg-deb", () => ({}));
  await expect(kits().get(ctx)).rejects.toMatchObject({ code: "KERNEL_UNUSABLE" });
  expect(readdirSync(join(root, "kits"))).toEqual([]);
});

test("the package that set-up left beside the agent is not downloaded again", async () => {
  writeFileSync(join(root, `linux-image-${version}_2_amd64.deb`), "deb");
  host.processes.uninstall("apt-get");
  expect((await kits().get(ctx)).kernelVersion).toBe(version);
});
