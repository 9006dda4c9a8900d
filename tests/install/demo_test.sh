#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/demo_test.sh BUILD_DIR
#
# One epoch of deploy/demo.sh with the binaries of BUILD_DIR (build/PRESET): it ends well, writes its
# figures, and stops its server; also where it is told to stop half-way.
set -euo pipefail
build=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$build/demo_test
export TALWEG_PRESET=${build##*/}

fail() {
  echo "demo_test: $1" >&2
  exit 1
}
# Processes that run binaries of this build on behalf of this demo's process group.
left_behind() { pgrep -g "$1" -f "$build/bin/talweg" || true; }

rm -rf "$out"
setsid bash "$root/deploy/demo.sh" --epochs 1 --methods adam --out "$out" </dev/null &
demo=$!
wait "$demo" || fail "the demo ended with $?"
[[ -n $(find "$out" -name '*.csv' -size +0) ]] || fail "no CSV in $out"
[[ -n $(find "$out" \( -name '*.svg' -o -name '*.png' \) -size +0) ]] || fail "no plot in $out"
[[ -z $(left_behind "$demo") ]] || fail "processes are left: $(left_behind "$demo")"

setsid bash "$root/deploy/demo.sh" --epochs 1000 --methods adam --out "$out" </dev/null \
  >"$out.log" 2>&1 &
demo=$!
for ((i = 0; i < 600; i++)); do
  grep -q 'listens on' "$out.log" && break
  sleep 0.1
done
sleep 1
kill -TERM "$demo"
status=0
wait "$demo" || status=$?
((status == 143)) || fail "told to stop, the demo ended with $status"
[[ -z $(left_behind "$demo") ]] || fail "processes are left: $(left_behind "$demo")"
