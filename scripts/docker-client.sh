#!/bin/sh
# Puts a real docker client into .cache/docker-client when the host has none: unpacked from Debian's package, not installed,
# since the package that holds it may bring a daemon along.
set -eu
. "$(dirname "$0")/common.sh"

command -v docker >/dev/null && exit 0
[ -x "$root/.cache/docker-client/docker" ] && exit 0
say "Unpacking the docker client"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download docker-cli 2>/dev/null || apt-get download docker.io || fail "no docker client: neither docker-cli nor docker.io can be downloaded" "install one, or run apt-get update"
for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
mkdir -p "$root/.cache/docker-client"
cp "$work/root/usr/bin/docker" "$root/.cache/docker-client/docker"
