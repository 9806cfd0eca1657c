# Sourced: packages of another Debian than the host's, downloaded with package lists of their own: the host's stay as they are.

# The first mirror of Debian's that apt knows, whichever way its sources are written down.
mirror() {
  apt-get indextargets --format '$(SITE) $(ORIGIN) $(COMPONENT)' 2>/dev/null | sed -n 's/^\(\S*\) Debian main$/\1/p' | head -1
}

from_suite() { # suite package; into the working directory, which must be absolute in $work
  site=$(mirror)
  [ -n "$site" ] || return 1
  package=$2
  mkdir -p lists/partial cache/archives/partial
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$site" "$1" > sources.list
  # A mirror may be a frozen copy, older than its lists say they may be.
  set -- -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root
  apt-get "$@" update && apt-get "$@" download "$package"
}
