import { expect, test } from "vitest";
import { type OsFilesRequest, osFiles, unwantedFiles } from "./os-files.ts";
import { newestKernel, type RootTree } from "./root-tree.ts";

const debian: RootTree = {
  kernel: { image: "/vmlinuz", initrd: "/initrd.img" },
  init: "systemd",
  mergedUsr: true,
  cloudInit: true,
  networkd: true,
  resolved: true,
  sshd: true,
  policy: true,
  modprobe: true,
  hostKeys: ["ssh_host_rsa_key", "ssh_host_rsa_key.pub"],
  missing: ["dev"],
};
const request = (tree: RootTree): OsFilesRequest => ({
  tree,
  kernel: tree.kernel ?? { image: "/boot/vmlinuz-1", initrd: undefined },
  rootUuid: "6b1e",
  kernelWords: [],
  growRoot: Buffer.from("ELF"),
  fresh: true,
});
const contentOf = (tree: RootTree, path: string) => {
  const found = osFiles(request(tree)).find((file) => file.path === path);
  return found?.kind === "file" ? found.content.toString() : found?.kind === "symlink" ? found.target : found?.kind;
};

test("the root is found by its UUID, by the menu and by the mount table; consoles are the screen and the serial line", () => {
  expect(contentOf(debian, "boot/berth/grub.cfg")).toContain(
    "linux /vmlinuz root=UUID=6b1e ro console=tty0 console=ttyS0\ninitrd /initrd.img\nboot\n",
  );
  expect(contentOf(debian, "etc/fstab")).toMatch(/^UUID=6b1e \/ ext4 /);
  expect(contentOf(debian, "dev")).toBe("directory");
});

test("a kernel without an initial root gets a menu without one", () => {
  expect(contentOf({ ...debian, kernel: undefined }, "boot/berth/grub.cfg")).not.toContain("initrd");
});

test("systemd's own network service takes an address, where nothing else would", () => {
  expect(contentOf(debian, "etc/systemd/network/80-berth-dhcp.network")).toContain("DHCP=yes");
  expect(contentOf(debian, "etc/systemd/system/multi-user.target.wants/systemd-networkd.service")).toBe(
    "/usr/lib/systemd/system/systemd-networkd.service",
  );
  expect(contentOf({ ...debian, networkd: false }, "etc/systemd/network/80-berth-dhcp.network")).toBeUndefined();
});

test("each machine makes its own identity", () => {
  expect(contentOf(debian, "etc/machine-id")).toBe("");
  expect(contentOf(debian, "etc/systemd/system/berth-ssh-key.service")).toContain("ssh-keygen");
  expect(unwantedFiles(request(debian))).toEqual(
    expect.arrayContaining(["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_rsa_key.pub", "/usr/sbin/policy-rc.d"]),
  );
});

test("what a user has made keeps its timers and its apt's ways", () => {
  expect(unwantedFiles({ tree: { ...debian, hostKeys: [], policy: false }, fresh: false })).toEqual([]);
});

test("another init gets none of systemd's files", () => {
  const paths = osFiles(request({ ...debian, init: "other", cloudInit: false })).map(({ path }) => path);
  expect(paths).toEqual(["dev", "etc/fstab", "boot/berth/grub.cfg"]);
});

test("the newest kernel is the highest version, number by number", () => {
  const files = ["vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-50-amd64", "initrd.img-6.1.0-50-amd64", "vmlinuz-0-rescue-ab"];
  expect(newestKernel(files)).toBe("6.1.0-50-amd64");
  expect(newestKernel(["config-6.1"])).toBeUndefined();
});
