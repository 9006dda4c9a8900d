#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/server_test.sh SERVER VERSION ADDRESS
#
# What talweg-server says to a person who starts it, beside another server that listens on ADDRESS.
set -euo pipefail
server=$1 version=$2 address=$3
folder=$(mktemp -d)
started=
clean_up() {
  if [[ -n $started ]]; then
    kill -KILL "$started" 2>/dev/null || true
    wait "$started" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap clean_up EXIT
cd "$folder"

fail() {
  echo "server_test: $1" >&2
  exit 1
}

[[ $("$server" --version) == "talweg-server $version" ]] || fail "--version: $("$server" --version)"

# Of two addresses neither is silently dropped.
status=0
"$server" --address="$address" --address=127.0.0.1:0 >twice 2>&1 </dev/null || status=$?
((status == 2)) || fail "a flag that is given twice ends with $status"
[[ $(<twice) == "talweg-server: --address is given twice" ]] || fail "of a second flag: $(<twice)"

# A server without room for a session is of no use.
status=0
"$server" --address=127.0.0.1:0 --max_sessions=0 >none 2>&1 </dev/null || status=$?
((status == 2)) || fail "--max_sessions=0 ends with $status"
[[ $(<none) == "talweg-server: --max_sessions is 0, allowed: 1 or more" ]] || fail "$(<none)"

# The port is taken: one line that says so and what to do, nothing of gRPC's.
status=0
"$server" --address="$address" >taken 2>&1 </dev/null || status=$?
((status != 0)) || fail "two servers listen on $address"
[[ $(wc -l <taken) == 1 ]] || fail "not one line: $(cat taken)"
grep -q "cannot listen on $address: address already in use.* --address=127.0.0.1:0 " taken ||
  fail "it does not say why: $(cat taken)"

# Standard output and log in one file: where it listens is said in one line and one only.
"$server" --address=127.0.0.1:0 >log 2>&1 </dev/null &
started=$!
for ((i = 0; i < 600; i++)); do
  grep -q ' serves at ' log && break
  kill -0 "$started" 2>/dev/null || break
  sleep 0.1
done
[[ $(grep -c 'listening on' log) == 1 ]] || fail "not one line says that it listens: $(cat log)"
grep -q "info version $version serves at 127" log || fail "the log lacks its first line: $(cat log)"
kill -TERM "$started"
wait "$started" || fail "it ended with $?: $(cat log)"
started=
