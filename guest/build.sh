#!/bin/sh
# Builds the agent (static, for the guest), berth-vmm (static, for the jail) and osinit (static, for machines' disks) into a directory: guest/build.sh [DIRECTORY]
# musl-gcc where it is installed: a small agent is a small initrd; else the C library's own static archive.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../dist/guest}
cc=${CC:-$(command -v musl-gcc || command -v gcc || command -v cc || true)}
[ -n "$cc" ] || { echo "error: there is no C compiler for the guest's agent" >&2; echo "       apt-get install gcc libc6-dev (or musl-tools)" >&2; exit 1; }
flags="-std=gnu11 -Os -static -Wall -Wextra -Werror -Wshadow -ffunction-sections -fdata-sections -Wl,--gc-sections -s"
# The kernel's headers, which musl-gcc does not look for: only theirs, not the other C library's.
case $cc in
*musl-gcc)
  headers=$(mktemp -d)
  trap 'rm -rf "$headers"' EXIT
  machine=$(uname -m)
  for name in linux asm-generic; do ln -s "/usr/include/$name" "$headers/$name"; done
  if [ -d "/usr/include/$machine-linux-gnu/asm" ]; then ln -s "/usr/include/$machine-linux-gnu/asm" "$headers/asm"; else ln -s /usr/include/asm "$headers/asm"; fi
  flags="$flags -isystem $headers"
  ;;
esac
mkdir -p "$out"
# shellcheck disable=SC2086 # one word for each flag
"$cc" $flags -o "$out/agent.new" "$here"/common/*.c "$here"/agent/*.c
# shellcheck disable=SC2086
"$cc" $flags -o "$out/berth-vmm.new" "$here"/common/*.c "$here"/vmm/*.c
# shellcheck disable=SC2086
"$cc" $flags -o "$out/osinit.new" "$here"/common/bytes.c "$here"/common/fields.c "$here"/agent/user.c "$here"/osinit/*.c
mv "$out/agent.new" "$out/agent"
mv "$out/berth-vmm.new" "$out/berth-vmm"
mv "$out/osinit.new" "$out/osinit"
# The probe of /dev/kvm: a flat image, on the only machine that has one.
if [ "$(uname -m)" = x86_64 ]; then
  gcc -c -o "$out/kvm-probe.o" "$here/probe/kvm-probe.S"
  objcopy -O binary -j .text "$out/kvm-probe.o" "$out/kvm-probe.bin"
  rm "$out/kvm-probe.o"
fi
