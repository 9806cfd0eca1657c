#!/bin/sh
# Set-up, then every check and every test. Ends on a line "N passed, N failed".
set -eu
. "$(dirname "$0")/common.sh"

# What the tests need besides: a registry, an independent reader of images, extended attributes, a pty.
BERTH_SETUP_EXTRA="docker-registry:docker-registry skopeo:skopeo htpasswd:apache2-utils busybox:busybox-static setfattr:attr setcap:libcap2-bin script:bsdutils ip:iproute2" \
  sh "$root/scripts/setup.sh"
cd "$root"
sh scripts/docker-client.sh
PATH="$root/node_modules/.bin:$root/.cache/docker-client:$PATH" pinned_node scripts/run-tests.mjs "$@"
