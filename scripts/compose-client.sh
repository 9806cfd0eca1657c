#!/bin/sh
# Puts docker compose v2 into .cache/docker-client/cli-plugins when the host has none: unpacked from a distribution's package, not
# installed. Debian 12's own is version 1, so it is taken from the next release, with package lists of its own: the host's stay as they are.
set -eu
. "$(dirname "$0")/common.sh"

plugin=$root/.cache/docker-client/cli-plugins/docker-compose
[ -x "$plugin" ] && exit 0
say "Unpacking docker compose"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The first mirror of Debian's that apt knows, whichever way its sources are written down.
mirror() {
  apt-get indextargets --format '$(SITE) $(ORIGIN) $(COMPONENT)' 2>/dev/null | sed -n 's/^\(\S*\) Debian main$/\1/p' | head -1
}

from_suite() { # suite
  site=$(mirror)
  [ -n "$site" ] || return 1
  mkdir -p lists/partial cache/archives/partial
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$site" "$1" > sources.list
  # A mirror may be a frozen copy, older than its lists say they may be.
  set -- -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root
  apt-get "$@" update && apt-get "$@" download docker-compose
}

# Ubuntu's, then that of the host's release when it is no version 1, then Debian 13's.
apt-get -qq download docker-compose-v2 2>/dev/null ||
  { apt-cache policy docker-compose 2>/dev/null | grep -q 'Candidate: 2' && apt-get -qq download docker-compose; } ||
  from_suite trixie || fail "no docker compose: its package can't be downloaded" "install it, or run apt-get update"
for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
mkdir -p "$(dirname "$plugin")"
cp "$(find "$work/root" -path '*/cli-plugins/docker-compose' | head -1)" "$plugin"
