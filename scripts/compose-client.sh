#!/bin/sh
# Puts docker compose v2 into .cache/docker-client/cli-plugins when the host has none: unpacked from a distribution's package, not
# installed. Debian 12's own is version 1, so it is taken from the next release, with package lists of its own: the host's stay as they are.
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/from-suite.sh"

plugin=$root/.cache/docker-client/cli-plugins/docker-compose
[ -x "$plugin" ] && exit 0
say "Unpacking docker compose"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Ubuntu's, then that of the host's release when it is no version 1, then Debian 13's.
apt-get -qq download docker-compose-v2 2>/dev/null ||
  { apt-cache policy docker-compose 2>/dev/null | grep -q 'Candidate: 2' && apt-get -qq download docker-compose; } ||
  from_suite trixie docker-compose || fail "no docker compose: its package can't be downloaded" "install it, or run apt-get update"
for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
mkdir -p "$(dirname "$plugin")"
cp "$(find "$work/root" -path '*/cli-plugins/docker-compose' | head -1)" "$plugin"
