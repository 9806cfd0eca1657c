/**
 * A Linux of a few megabytes with qemu-guest-agent, DHCP and a power button, on an ISO: the cloud kernel, this host's static busybox and
 * qemu-ga with its libraries. Up within seconds under emulation.
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { collectModules } from "../../src/guest/kernel-modules.ts";
import { guestKernelPackage } from "./guest-kernel.ts";

const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
ip link set lo up
ip link set eth0 up
udhcpc -q -n -t 20 -T 1 -i eth0 -s /etc/dhcp >/dev/null 2>&1
acpid -d >/dev/null 2>&1 &
for port in /sys/class/virtio-ports/*; do
  [ "$(cat $port/name)" = org.qemu.guest_agent.0 ] && qemu-ga -p /dev/\${port##*/} -t /run -f /run/pid &
done
echo "agent is up: $(ip -4 -o addr show eth0 | awk '{print $4}')"
exec setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
`;
const dhcp = `#!/bin/sh
[ "$1" = bound ] && ip addr add $ip/$mask dev $interface && [ -n "$router" ] && ip route add default via $router
exit 0
`;

/** Path of the ISO, made in `dir`. */
export async function agentIso(dir: string): Promise<string> {
  const work = join(dir, "agent");
  const root = join(work, "root");
  const tree = join(work, "iso");
  for (const name of ["bin", "dev", "etc/acpi/PWRF", "lib", "modules", "proc", "run", "sys", "tmp", "var/tmp", "usr"]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  mkdirSync(tree, { recursive: true });
  const kernel = unpackKernel(join(work, "kernel"));
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  for (const library of withLibraries(agentProgram())) {
    const target = join(root, library === agentProgram() ? "bin/qemu-ga" : library);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(realpathSync(library), target);
  }
  const wanted = ["virtio_pci", "virtio_console", "virtio_net", "button", "evdev", "af_packet"];
  const modules = await collectModules(
    kernel.modules,
    wanted.filter((name) => kernel.has(name)),
  );
  modules.forEach(({ name, data }, nth) => {
    writeFileSync(join(root, "modules", `${String(nth).padStart(2, "0")}-${name}`), data);
  });
  writeFileSync(join(root, "init"), init, { mode: 0o755 });
  writeFileSync(join(root, "etc/dhcp"), dhcp, { mode: 0o755 });
  writeFileSync(join(root, "etc/acpi/PWRF/00000080"), "#!/bin/sh\necho powering off >/dev/ttyS0\npoweroff -f\n", {
    mode: 0o755,
  });
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\n");
  symlinkSync("/bin", join(root, "usr/bin"));
  const archive = execFileSync("sh", ["-c", "find . | busybox cpio -o -H newc | gzip -1"], {
    cwd: root,
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "ignore"],
  });
  writeFileSync(join(tree, "initrd"), archive);
  copyFileSync(kernel.image, join(tree, "kernel"));
  copyFileSync("/usr/lib/ISOLINUX/isolinux.bin", join(tree, "isolinux.bin"));
  copyFileSync("/usr/lib/syslinux/modules/bios/ldlinux.c32", join(tree, "ldlinux.c32"));
  const append = "console=ttyS0 quiet mitigations=off random.trust_cpu=on cryptomgr.notests=1 panic=-1 tsc=reliable";
  writeFileSync(join(tree, "isolinux.cfg"), `DEFAULT x\nLABEL x\nKERNEL kernel\nINITRD initrd\nAPPEND ${append}\n`);
  const file = join(dir, "agent.iso");
  const boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];
  execFileSync("genisoimage", ["-quiet", "-l", "-r", "-o", file, ...boot, tree], { stdio: "pipe" });
  rmSync(work, { recursive: true });
  return file;
}

function unpackKernel(directory: string) {
  const name = guestKernelPackage();
  if (name === "") throw new Error("no kernel's package: run npm run setup, or set BERTH_TEST_KERNEL_PACKAGE");
  execFileSync("dpkg-deb", ["-x", name, directory]);
  const boot = readdirSync(join(directory, "boot")).find((file) => file.startsWith("vmlinuz")) ?? "";
  const version = boot.replace("vmlinuz-", "");
  const modules = join(directory, "lib/modules", version);
  const files = new Set(readdirSync(modules, { recursive: true, encoding: "utf8" }).map((file) => basename(file)));
  return { image: join(directory, "boot", boot), modules, has: (module: string) => files.has(`${module}.ko`) };
}

function agentProgram(): string {
  const named = process.env["BERTH_TEST_QEMU_GA"] ?? "/usr/sbin/qemu-ga";
  if (!existsSync(named)) throw new Error(`there is no ${named}: apt-get install qemu-guest-agent`);
  return named;
}

function withLibraries(program: string): readonly string[] {
  const text = execFileSync("ldd", [program], { encoding: "utf8" });
  return [program, ...[...text.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path)];
}
