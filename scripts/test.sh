#!/bin/sh
# Set-up, then every check and every test. Ends on a line "N passed, N failed".
set -eu
. "$(dirname "$0")/common.sh"

# What the tests need besides: a registry, an independent reader of images, extended attributes, a pty, certificates, a firewall to stand beside, a guest agent.
# (busybox by its documentation: a dynamic one, which many hosts have, would not run in an image of its own)
[ -e /usr/share/doc/busybox-static ] && static=busybox || static=busybox-static-is-missing
BERTH_SETUP_EXTRA="/usr/lib/ISOLINUX/isolinux.bin:isolinux /usr/share/OVMF/OVMF_CODE_4M.fd:ovmf /usr/lib/syslinux/mbr/mbr.bin:syslinux-common /usr/lib/memtest86+/memtest86+x64.iso:memtest86+ extlinux:extlinux xorriso:xorriso ssh:openssh-client swtpm:swtpm docker-registry:docker-registry skopeo:skopeo htpasswd:apache2-utils $static:busybox-static setfattr:attr setcap:libcap2-bin script:bsdutils ip:iproute2 openssl:openssl iptables:iptables bzip2:bzip2 git:git nsenter:util-linux qemu-ga:qemu-guest-agent isoinfo:genisoimage xmllint:libxml2-utils qemu-io:qemu-utils /usr/lib/python3/dist-packages/docker/__init__.py:python3-docker" \
  sh "$root/scripts/setup.sh"
cd "$root"
sh scripts/docker-client.sh
sh scripts/compose-client.sh
sh scripts/buildx-client.sh
sh scripts/docker-20-client.sh
PATH="$root/node_modules/.bin:$root/.cache/docker-client:$PATH" pinned_node scripts/run-tests.mjs "$@"
