# Sourced by the other scripts: messages, and the project's own Node.js.
# POSIX sh, since it runs before anything is installed.

root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '==> %s\n' "$*"; }
fail() { # message, way out
  printf 'error: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '       %s\n' "$2" >&2
  exit 1
}

# Runs the pinned Node.js, whatever Node the host has.
pinned_node() {
  for candidate in "$root"/node_modules/node-linux-*/bin/node; do
    [ -x "$candidate" ] && { "$candidate" "$@"; return; }
  done
  fail "the pinned Node.js is missing" "run 'npm run setup'"
}
