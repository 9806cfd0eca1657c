#!/bin/sh
# From nothing to a page served by a container: set-up, engine, base image, the example of the README.
set -eu
. "$(dirname "$0")/common.sh"

sh "$root/scripts/setup.sh"
berth="$root/bin/berth"
socket=${BERTH_HOST:-unix:///run/berth/docker.sock}
export BERTH_HOST=$socket

# --- the engine
if "$berth" version >/dev/null 2>&1; then
  say "The engine already answers at $socket"
else
  log=${BERTH_LOG:-/var/log/berth.log}
  say "Starting the engine ($socket, log in $log)"
  setsid "$berth" daemon -H "$socket" </dev/null >>"$log" 2>&1 &
  engine=$!
  tries=0
  until "$berth" version >/dev/null 2>&1; do
    kill -0 "$engine" 2>/dev/null || fail "the engine ended: $(tail -n 3 "$log")" "the whole log is in $log"
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "the engine does not answer after 20 seconds" "look in $log"
    sleep 0.2
  done
fi

# --- a base image and the example
if [ -z "$("$berth" images -q debian:bookworm)" ]; then
  say "Making the base image debian:bookworm from the distribution's mirror (a few minutes, once)"
  "$berth" image bootstrap debian:bookworm
fi
say "Building the example: berth build -t mynginx examples/nginx"
"$berth" build -t mynginx "$root/examples/nginx"

"$berth" rm -f berth-example >/dev/null 2>&1 || true
port=${BERTH_EXAMPLE_PORT:-80}
say "Running it: berth run -d --name berth-example -p $port:80 mynginx"
if ! "$berth" run -d --name berth-example -p "$port:80" mynginx >/dev/null 2>"$root/.start-error"; then
  grep -q "already allocated\|already in use" "$root/.start-error" || { cat "$root/.start-error" >&2; rm -f "$root/.start-error"; exit 1; }
  say "Port $port is taken; choosing a free one"
  "$berth" rm -f berth-example >/dev/null 2>&1 || true
  "$berth" run -d --name berth-example -p 80 mynginx >/dev/null
  port=$("$berth" port berth-example 80 | head -1 | sed 's/.*://')
fi
rm -f "$root/.start-error"

# --- does it answer?
pinned_node --input-type=module -e '
const url = process.argv[1];
for (let tries = 0; ; tries++) {
  try {
    const page = await (await fetch(url)).text();
    console.log(`${url} answers: ${/<title>(.*?)<\/title>/.exec(page)?.[1] ?? page.slice(0, 80)}`);
    break;
  } catch (error) {
    if (tries === 50) { console.error(`error: ${url} does not answer: ${error.cause?.message ?? error.message}`); process.exit(1); }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}' "http://localhost:$port/"

cat <<END

Berth runs. What to try next:
  $berth ps                                    what runs
  $berth logs berth-example                    its output
  $berth exec -it berth-example bash           a shell in it
  $berth stop berth-example && $berth rm berth-example
  docker -H $socket ps                         the same engine, by the docker client
  $berth --help                                everything else
  kill \$(cat /run/berth/berth.pid)             stop the engine (containers run on)
END
