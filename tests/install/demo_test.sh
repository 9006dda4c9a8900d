#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/demo_test.sh BUILD_DIR
#
# One epoch of deploy/demo.sh with the binaries of BUILD_DIR (build/PRESET): it ends well, writes its
# figures, and stops its server; Ctrl-C half-way stops all.
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
left_behind() { pgrep -g "$1" -f "build/$TALWEG_PRESET/bin/talweg" || true; }

rm -rf "$out" "$out.log"
setsid bash "$root/deploy/demo.sh" --epochs 1 --methods adam --out_dir "$out" </dev/null &
demo=$!
wait "$demo" || fail "the demo ended with $?"
[[ -n $(find "$out" -name '*.csv' -size +0) ]] || fail "no CSV in $out"
[[ -n $(find "$out" \( -name '*.svg' -o -name '*.png' \) -size +0) ]] || fail "no plot in $out"
awk -F, -v floor=0.95 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
  { if ($column["test_accuracy"] < floor) exit 1; seen++ } END { if (!seen) exit 1 }' \
  "$out/summary.csv" || fail "less than 95 % after an epoch: $(cat "$out/summary.csv")"
[[ -z $(left_behind "$demo") ]] || fail "processes are left: $(left_behind "$demo")"

# Ctrl-C: the terminal sends SIGINT to the whole group. (A shell's background job starts with it
# ignored, hence `env`.)
setsid env --default-signal=INT bash "$root/deploy/demo.sh" --epochs 1000 --methods adam \
  --out_dir "$out" </dev/null >"$out.log" 2>&1 &
demo=$!
for ((i = 0; i < 600; i++)); do
  grep -q 'listens on' "$out.log" && break
  sleep 0.1
done
sleep 1
[[ -n $(left_behind "$demo") ]] || fail "server and client are not where this test looks"
kill -INT -- "-$demo"
status=0
wait "$demo" || status=$?
((status == 130)) || fail "after Ctrl-C the demo ended with $status"
[[ -z $(left_behind "$demo") ]] || fail "processes are left: $(left_behind "$demo")"
