#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/support/with_server.sh SERVER COMMAND [ARGUMENT...]
#
# Runs COMMAND beside a server of its own on a free loopback port; `{address}` in an argument stands
# for the address of that server. Ends as COMMAND ends, or with 1 if the server did not start, or
# did not exit with 0 on SIGTERM.
set -euo pipefail

server_binary=$1
shift
log=$(mktemp)
server=
clean_up() {
  if [[ -n $server ]]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -f "$log"
}
trap clean_up EXIT
trap 'exit 143' INT TERM

"$server_binary" --address=127.0.0.1:0 >"$log" 2>&1 </dev/null &
server=$!
address=
for ((i = 0; i < 600; i++)); do
  address=$(sed -n 's/^talweg-server listening on \(127\.0\.0\.1:[0-9]*\)$/\1/p' "$log")
  [[ -n $address ]] && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [[ -z $address ]]; then
  echo "with_server: no server:" >&2
  cat "$log" >&2
  exit 1
fi

status=0
"${@//\{address\}/$address}" || status=$?

kill -TERM "$server"
server_status=0
wait "$server" || server_status=$?
server=
if ((server_status != 0)); then
  echo "with_server: the server ended with $server_status:" >&2
  cat "$log" >&2
  exit 1
fi
(exit "$status")
