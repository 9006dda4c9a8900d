#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/experiments_test.sh TALWEG PYTHON ADDRESS
#
# The experiments by the command line: they are listed, print JSON and leave the files it names, and
# Ctrl-C half-way leaves no session. (What they find: tests/conformance/theory_test.cc; mnist:
# demo_test.sh; fleet: fleet_test.sh; those that search: search_experiments_test.sh.)
set -euo pipefail
talweg=$1
python=$2
export TALWEG_SERVER=$3
data=$(cd "$(dirname "$0")/../../client/data/mnist" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
  echo "experiments_test: $1" >&2
  exit 1
}

listed=$("$talweg" experiment --help)
for name in fleet ill_conditioned mnist rates scaling; do
  [[ $listed == *"talweg experiment $name"* ]] || fail "not listed: $name in $listed"
done
bare=$("$talweg" experiment 2>&1) && fail "an experiment without a name ran"
[[ $bare == "$listed" ]] || fail "without a name: $bare"

# Wants JSON on standard output, and that it names files that are there.
runs() {
  local experiment=$1 files=$2
  shift 2
  "$talweg" experiment "$experiment" --out_dir "out/$experiment" --json "$@" >"$experiment.json" \
    2>"$experiment.log" || fail "$experiment ended with $?: $(cat "$experiment.log")"
  "$python" - "$experiment.json" "$files" <<'PYTHON' || fail "$experiment: $(cat "$experiment.json")"
import json, os, sys
result = json.load(open(sys.argv[1]))
files = [value for value in result.values() if isinstance(value, str)]
assert len(files) == int(sys.argv[2]) and all(os.path.getsize(file) > 100 for file in files)
assert len(result["runs"]) >= 3
PYTHON
}
runs ill_conditioned 4 --condition 20
runs rates 3 --steps 100 --noisy_steps 200 --seeds 2
runs scaling 2 --max_workers 4 --noise 0.03
# As counted, and by theory.
"$python" - scaling.json <<'PYTHON' || fail "scaling: $(cat scaling.json)"
import json, sys
points = json.load(open(sys.argv[1]))["runs"]
assert [point["workers"] for point in points] == [1, 2, 4, 1, 2, 4]
for point in points:
    assert abs(point["gradients_per_worker"] / point["expected"] - 1) < 0.15, point
    stale = point["workers"] - 1 if point["way"] == "frequent" else 0
    assert point["max_staleness"] == stale, point
assert points[0]["gradients_per_worker"] > 2 * points[2]["gradients_per_worker"]
PYTHON
table=$("$talweg" experiment rates --steps 100 --noisy_steps 200 --seeds 2 --out_dir out/rates \
  2>/dev/null)
[[ $table == *"out/rates/rates.svg"* ]] || fail "the table does not end with its files: $table"
status=0
"$talweg" experiment ill_conditioned --condition 1 2>/dev/null || status=$?
((status == 2)) || fail "a condition of 1 ended with $status"

# Unless a server is named, each starts one of its own, which ends with it. It is the one beside the
# program, and a folder of this test's own marks it.
own=$folder/own
mkdir "$own"
ln -s "$(cd "$(dirname "$talweg")" && pwd)"/talweg-server "$own/talweg-server"
cp "$talweg" "$own/talweg"
servers() { pgrep -f -- "^$own/talweg-server" || true; }
alone() {
  local experiment=$1
  shift
  env -u TALWEG_SERVER "$own/talweg" experiment "$experiment" --out_dir "alone/$experiment" "$@" \
    >alone.out 2>alone.log || fail "alone, $experiment ended with $?: $(cat alone.log)"
  grep -q 'no server is named: started one at 127.0.0.1:' alone.log ||
    fail "alone, $experiment does not say so: $(cat alone.log)"
  [[ -z $(servers) ]] || fail "$experiment left its server: $(servers)"
}
alone ill_conditioned --condition 20
alone rates --steps 100 --noisy_steps 100 --seeds 2
alone scaling --max_workers 2 --noise 0.03
alone fleet --workers 2 --rounds 3 --batch 32 --data_dir "$data"
env -u TALWEG_SERVER --default-signal=INT "$own/talweg" experiment mnist --data_dir "$data" \
  --methods gradient_descent --epochs 100 --out_dir alone/mnist >/dev/null 2>alone.log &
running=$!
for ((i = 0; i < 300; i++)); do
  [[ -n $(servers) ]] && break
  sleep 0.1
done
[[ -n $(servers) ]] || fail "mnist has no server of its own: $(cat alone.log)"
kill -INT "$running"
status=0
wait "$running" || status=$?
((status == 130)) || fail "alone, mnist ended with $status: $(cat alone.log)"
[[ -z $(servers) ]] || fail "mnist left its server: $(servers)"
rm "$own/talweg-server"
status=0
env -u TALWEG_SERVER PATH=/usr/bin:/bin "$own/talweg" experiment rates >/dev/null 2>alone.log || status=$?
((status == 1)) || fail "without any server rates ended with $status"
grep -q 'name a running one with --server' alone.log || fail "no word of --server: $(cat alone.log)"

# Ctrl-C. (A shell's background job starts with it ignored, hence `env`.)
env --default-signal=INT "$talweg" experiment rates --steps 100 --noisy_steps 10000000 \
  --out_dir out/stopped >/dev/null 2>&1 &
running=$!
for ((i = 0; i < 300; i++)); do
  [[ $("$talweg" session list) == *rates-noisy* ]] && break
  sleep 0.1
done
[[ $("$talweg" session list) == *rates-noisy* ]] || fail "no session is where this test looks"
kill -INT "$running"
status=0
wait "$running" || status=$?
((status == 130)) || fail "after Ctrl-C it ended with $status"
[[ $("$talweg" session list) == *"no sessions"* ]] || fail "left behind: $("$talweg" session list)"
[[ ! -e out/stopped ]] || fail "a stopped run left files"
