#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs, builds, starts a server, trains on MNIST through it, stops the server.
#
#   deploy/demo.sh                              three methods, about two minutes after the build
#   deploy/demo.sh --epochs 1 --methods adam    arguments go to `talweg experiment mnist`
#
# TALWEG_PRESET names another preset of CMakePresets.json (default: release).
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${TALWEG_PRESET:-release}
bin=build/$preset/bin
log=build/$preset/demo-server.log

deploy/install-deps.sh --minimal
cmake --preset "$preset"
cmake --build --preset "$preset" --target talweg talweg-server

server=
client=
# Nothing stays behind, however this ends. Each process is told to stop, then waited for.
stop() {
  local pid=$1 i
  if [[ -z $pid ]] || ! kill -TERM "$pid" 2>/dev/null; then return 0; fi
  for ((i = 0; i < 200; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}
clean_up() {
  trap '' INT TERM
  stop "$client"
  stop "$server"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

: >"$log"  # here, not in the background: an earlier run's address must not be read
"$bin/talweg-server" --address=127.0.0.1:0 >>"$log" 2>&1 </dev/null &
server=$!
address=
for ((i = 0; i < 300; i++)); do
  address=$(sed -n 's/^talweg-server listening on \(127\.0\.0\.1:[0-9]*\)$/\1/p' "$log" | head -n 1)
  [[ -n $address ]] && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [[ -z $address ]]; then
  echo "demo: the server did not start:" >&2
  cat "$log" >&2
  exit 1
fi
echo "demo: talweg-server listens on $address (log: $log)"

# In the background, so that a signal to this script is answered at once.
"$bin/talweg" experiment mnist --server="$address" "$@" </dev/null &
client=$!
status=0
wait "$client" || status=$?
client=

kill -TERM "$server"
server_status=0
wait "$server" || server_status=$?
server=
if ((status != 0)); then
  echo "demo: the experiment failed ($status); the server's log is $log" >&2
  exit "$status"
fi
if ((server_status != 0)); then
  echo "demo: the server ended with $server_status; its log is $log" >&2
  exit 1
fi
echo "demo: done; the server has stopped"
