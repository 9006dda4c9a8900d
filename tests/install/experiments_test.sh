#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/experiments_test.sh TALWEG PYTHON ADDRESS
#
# The experiments by the command line: they are listed, print JSON and leave the files it names, and
# Ctrl-C half-way leaves no session. (What they find: tests/conformance/theory_test.cc; mnist:
# demo_test.sh; fleet: fleet_test.sh.)
set -euo pipefail
talweg=$1
python=$2
export TALWEG_SERVER=$3
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
