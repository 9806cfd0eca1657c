#!/bin/sh
# Puts docker buildx into .cache/docker-client/cli-plugins when it is not there: unpacked from a distribution's package, not installed.
# Debian has it from version 13 on.
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/from-suite.sh"

plugin=$root/.cache/docker-client/cli-plugins/docker-buildx
[ -x "$plugin" ] && exit 0
say "Unpacking docker buildx"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get -qq download docker-buildx 2>/dev/null || from_suite trixie docker-buildx || from_suite sid docker-buildx ||
  fail "no docker buildx: its package can't be downloaded" "install it, or run apt-get update"
for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
mkdir -p "$(dirname "$plugin")"
cp "$(find "$work/root" -path '*/cli-plugins/docker-buildx' | head -1)" "$plugin"
