#!/bin/sh
# Makes a fresh Debian 12/13 or Ubuntu 24.04 ready: Debian packages, npm packages, the build. Does only what is missing.
set -eu
. "$(dirname "$0")/common.sh"

[ "$(uname -s)" = Linux ] || fail "Berth runs on Linux, this is $(uname -s)" "use a Linux machine or virtual machine"
[ "$(id -u)" = 0 ] || fail "this has to run as root: it installs packages, and the engine makes namespaces and mounts" "try: sudo npm run ${npm_lifecycle_event:-setup}"
command -v npm >/dev/null || fail "npm is missing" "install Node.js 18 or newer with npm: apt-get install npm"

# --- Debian packages, by a file that each brings (or a program), so that other origins of it count too
wanted="runc:runc crun:crun conmon:conmon nft:nftables dnsmasq:dnsmasq-base mmdebstrap:mmdebstrap ps:procps xz:xz-utils"
# Virtual machines: QEMU, their disks, and a compiler for the guest's agent.
wanted="$wanted qemu-system-$(uname -m):qemu-system-$(uname -m | sed s/_64// | sed s/aarch64/arm/) qemu-img:qemu-utils mkfs.ext4:e2fsprogs gcc:gcc musl-gcc:musl-tools"
# Their disk images: GRUB for both firmwares, and FAT.
wanted="$wanted grub-mkimage:grub-common mformat:mtools depmod:kmod"
wanted="$wanted ${BERTH_SETUP_EXTRA:-}"
missing=
for pair in $wanted; do
  [ -e "${pair%%:*}" ] || PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
if [ "$(uname -m)" = x86_64 ]; then
  [ -e /usr/lib/grub/i386-pc/boot.img ] || missing="$missing grub-pc-bin"
  [ -e /usr/lib/grub/x86_64-efi/kernel.img ] || missing="$missing grub-efi-amd64-bin"
fi
[ -e /usr/bin/tini-static ] || missing="$missing tini"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || fail "these programs are missing and there is no apt-get to install them:$missing" "install them with your distribution's package manager"
  say "Installing Debian packages:$missing"
  apt-get update -qq || fail "the package lists can't be fetched" "check /etc/apt/sources.list* and the network"
  # shellcheck disable=SC2086 # one word for each package
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || fail "apt-get could not install$missing" "see its messages above"
fi
# Binds and volumes of virtual machines. Debian 12 has it with QEMU; later releases in a package of its own.
if ! ls /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd /usr/lib/virtiofsd 2>/dev/null | grep -q . && ! command -v virtiofsd >/dev/null; then
  say "Installing virtiofsd"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends virtiofsd >/dev/null 2>&1 || say "There is no package virtiofsd: virtual machines will have no binds and volumes"
fi

# --- npm packages; no install script is needed, the native parts are prebuilt. Not `npm ci`: the lock file names the packages of
#     the platforms that Berth runs on, and ci insists on those of all others too.
cd "$root"
lock=$(cksum < package-lock.json)
if [ "$(cat node_modules/.berth-lock 2>/dev/null)" != "$lock" ]; then
  say "Installing npm packages"
  npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error || fail "npm could not install the packages" "check that the npm registry can be reached: npm ping"
  printf %s "$lock" > node_modules/.berth-lock
fi

# --- the build
if [ ! -e dist/.built ] || [ -n "$(find src scripts/build.ts tsconfig*.json package.json -newer dist/.built -print 2>/dev/null | head -1)" ]; then
  say "Building"
  pinned_node scripts/build.ts
  : > dist/.built
fi
if [ ! -e dist/guest/osinit ] || [ ! -e dist/guest/berth-vmm ] || [ -n "$(find guest -newer dist/guest/berth-vmm -type f -print 2>/dev/null | head -1)" ]; then
  say "Building the guest's agent"
  sh guest/build.sh dist/guest
fi
# Debian's cloud kernel, which is never installed here. Without it the first virtual machine fetches it.
if [ -z "$(find dist/guest -name 'linux-image-*.deb' -print 2>/dev/null)" ]; then
  say "Downloading the guests' kernel"
  kernel=$(apt-cache depends --important "linux-image-cloud-$(dpkg --print-architecture)" | sed -n 's/^ *Depends: *\(linux-image-\S*\)$/\1/p')
  (cd dist/guest && apt-get -o APT::Sandbox::User=root -qq download "$kernel") || say "It can't be had now; the first virtual machine tries again"
fi

# --- the host
say "Checking the host"
"$root/bin/berth" doctor --quiet || fail "this host can't run Berth yet" "see the lines above; 'bin/berth doctor' shows all checks"
