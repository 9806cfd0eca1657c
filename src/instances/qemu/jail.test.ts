import { existsSync, mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { instanceSpec } from "../fake/instance-spec.ts";
import { prepareRequest } from "../fake/prepare-request.ts";
import { type JailParts, jailRequest } from "./jail.ts";

let dir: string;
let parts: JailParts;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-jail-"));
  const file = (name: string) => {
    writeFileSync(join(dir, name), "");
    return join(dir, name);
  };
  mkdirSync(join(dir, "run"));
  parts = {
    vmm: file("vmm"),
    spec: file("spec"),
    kernel: file("kernel"),
    initrd: file("initrd"),
    image: file("image"),
    blank: file("blank"),
    scratch: file("scratch"),
    runDir: join(dir, "run"),
    kvm: false,
    shares: [],
  };
});
afterEach(() => rmSync(dir, { recursive: true }));

const spec = instanceSpec(["rm", "-rf", "/"], {
  process: { user: "web", env: ["SECRET=1"], tty: true, init: true },
  security: { privileged: true, capAdd: ["SYS_ADMIN"], seccomp: "unconfined" },
  devices: [{ pathOnHost: "/dev/null", pathInContainer: "/dev/x", permissions: "r" }],
  sysctls: { "net.core.somaxconn": "9" },
  ulimits: [{ name: "nofile", soft: 1, hard: 1 }],
});

describe("a machine's jail", () => {
  it("has none of the instance's own privileges: they are for the guest", async () => {
    const jail = await jailRequest(prepareRequest("i", spec, dir), parts);
    expect(jail.spec).toMatchObject({
      process: { entrypoint: ["/berth/vmm", "run", "/berth/spec"], cmd: [], env: [], user: "", tty: true, init: false },
      security: {
        privileged: false,
        capAdd: ["NET_ADMIN"],
        capDrop: ["ALL"],
        noNewPrivileges: true,
        seccomp: "default",
        readonlyRootfs: true,
      },
      devices: [{ pathOnHost: "/dev/net/tun" }],
      sysctls: {},
      ulimits: [],
    });
  });

  it("can write to its scratch disk and its sockets' directory, and to nothing else", async () => {
    const { mounts, rootfs } = await jailRequest(prepareRequest("i", spec, dir), parts);
    expect(rootfs).toBe(join(dir, "jail"));
    expect(existsSync(rootfs)).toBe(true);
    const writable = mounts.filter(({ options }) => options.includes("rw"));
    expect(writable.map(({ target }) => target)).toEqual(["/berth/scratch", "/berth/run"]);
    expect(mounts.map(({ target }) => target)).toContain("/usr");
    expect(mounts.every(({ options }) => options.includes("rprivate"))).toBe(true);
  });

  it("has what it shares as a container would have it, and only then what its daemon needs for that", async () => {
    const mount = { type: "bind", source: dir, target: "/data", options: ["rbind", "ro", "rslave"] } as const;
    const request = prepareRequest("i", spec, dir);
    const jail = await jailRequest(request, { ...parts, shares: [{ name: "0", mount }] });
    expect(jail.mounts).toContainEqual({ ...mount, target: "/berth/shares/0" });
    expect(jail.spec.security.capAdd).toContain("DAC_OVERRIDE");
    expect(jail.spec.security.capAdd).not.toContain("SYS_ADMIN");
    expect(jail.syscalls).toEqual([expect.objectContaining({ names: ["unshare"] })]);
    expect((await jailRequest(request, parts)).syscalls).toBeUndefined();
  });

  it("has /dev/kvm only where that works", async () => {
    const jail = await jailRequest(prepareRequest("i", spec, dir), { ...parts, kvm: true });
    expect(jail.spec.devices.map(({ pathOnHost }) => pathOnHost)).toEqual(["/dev/net/tun", "/dev/kvm"]);
  });

  it("is made again for a second run on the same directory", async () => {
    await jailRequest(prepareRequest("i", spec, dir), parts);
    await expect(jailRequest(prepareRequest("i", spec, dir), parts)).resolves.toBeDefined();
  });
});
