#!/bin/sh
# Puts the docker client of Debian 12 (20.10) into .cache/docker-client as docker-20.10, beside whatever else is there: it asks for
# BuildKit in a way of its own. Unpacked from its package, not installed.
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/from-suite.sh"

client=$root/.cache/docker-client/docker-20.10
[ -x "$client" ] && exit 0
say "Unpacking the docker client of Debian 12"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

from_suite bookworm docker.io || fail "no docker 20.10: its package can't be downloaded" "run apt-get update"
for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
mkdir -p "$(dirname "$client")"
cp "$work/root/usr/bin/docker" "$client"
