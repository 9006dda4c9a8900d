#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/search_experiments_test.sh TALWEG PYTHON ADDRESS
#
# The experiments that search without gradients, in their quick form: they print JSON, leave the
# files that it names, and find what theory says; Ctrl-C half-way leaves no session and no process.
set -euo pipefail
talweg=$1
python=$2
export TALWEG_SERVER=$3
data=$(cd "$(dirname "$0")/../../client/data/mnist" && pwd)
export TALWEG_DATA_DIR=$data
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
  echo "search_experiments_test: $1" >&2
  exit 1
}

listed=$("$talweg" experiment --help)
for name in blackbox directional_derivative low_rank mnist_es random_search random_search_rate; do
  [[ $listed == *"talweg experiment $name"* ]] || fail "not listed: $name in $listed"
done
[[ $listed != *mnist_es_worker* ]] || fail "the worker is listed: $listed"

# Wants JSON on standard output, whose runs fulfil what standard input says.
runs() {
  local experiment=$1 files=$2
  "$talweg" experiment "$experiment" --quick --out_dir "out/$experiment" --json \
    >"$experiment.json" 2>"$experiment.log" || fail "$experiment ended with $?: $(cat "$experiment.log")"
  {
    cat <<'PYTHON'
import json, os, sys
result = json.load(open(sys.argv[1]))
files = [value for value in result.values() if isinstance(value, str)]
assert len(files) == int(sys.argv[2]) and all(os.path.getsize(file) > 100 for file in files)
runs = result["runs"]
PYTHON
    cat
  } >"$experiment.py"
  "$python" "$experiment.py" "$experiment.json" "$files" ||
    fail "$experiment: $(cat "$experiment.json")"
}
runs mnist_es 6 <<'PYTHON'
assert [run["pairs"] for run in runs] == [0, 200, 800]
for run in runs:
    if run["pairs"]:
        assert abs(run["first_cosine"] / run["expected_cosine"] - 1) < 0.1, run
backpropagation, few, many = (run["test_accuracy"] for run in runs)
assert backpropagation > 0.8 and few > 0.7 and many > 0.75, runs
PYTHON
runs low_rank 4 <<'PYTHON'
assert [run["rank"] for run in runs] == [0, 1, 4]
assert all(run["test_accuracy"] > 0.4 for run in runs), runs
PYTHON
runs random_search_rate 3 <<'PYTHON'
assert [run["varied"] for run in runs] == ["d", "M", "T"]
for run in runs:
    assert abs(run["exponent"] / run["theory"] - 1) < 0.2, run
    assert abs(run["bound_share"] - 1) < 0.2, run
PYTHON
runs directional_derivative 4 <<'PYTHON'
exact, best, small, large = (run["distance"] for run in runs)
assert exact == 0 and best < 1e-3 and small > 10 * best and large > 100 * best, runs
PYTHON
runs random_search 4 <<'PYTHON'
assert len(runs) == 5
assert all(run["test_accuracy"] > 0.6 for run in runs[:4]), runs
assert runs[4]["test_accuracy"] < 0.3, runs  # without a baseline
PYTHON
runs blackbox 5 <<'PYTHON'
assert len(runs) == 12
# What is left of the first value: with seeds 1 to 6 at most 0.005 of Rosenbrock's, 0.39 of Rastrigin's
# and 0.56 of the step ellipsoid's. Steps along other perturbations than those that were evaluated
# left at least 0.44, 0.82 and, in all but one of 12 runs, 0.73.
most = {"rosenbrock": 0.02, "rastrigin": 0.5, "step_ellipsoid": 0.7}
assert all(run["last_value"] < most[run["function"]] * run["first_value"] for run in runs), runs
PYTHON
table=$("$talweg" experiment mnist_es --quick --pairs 0,8 --steps 2 --workers 3 \
  --out_dir out/table 2>/dev/null)
[[ $table == *"A sample is a pair"*"out/table/accuracy_updates.svg"* ]] || fail "the table: $table"
status=0
"$talweg" experiment mnist_es --sigma 0 2>/dev/null || status=$?
((status == 2)) || fail "a sigma of 0 ended with $status"

# Ctrl-C. (A shell's background job starts with it ignored, hence `env`.)
env --default-signal=INT "$talweg" experiment mnist_es --quick --pairs 100 --steps 100000 \
  --out_dir out/stopped >/dev/null 2>&1 &
running=$!
for ((i = 0; i < 300; i++)); do
  [[ $("$talweg" session list) == *mnist_es* ]] && break
  sleep 0.1
done
[[ $("$talweg" session list) == *mnist_es* ]] || fail "no session is where this test looks"
sleep 0.5
kill -INT "$running"
status=0
wait "$running" || status=$?
((status == 130)) || fail "after Ctrl-C it ended with $status"
[[ $("$talweg" session list) == *"no sessions"* ]] || fail "left behind: $("$talweg" session list)"
[[ -z $(pgrep -f "mnist_es_worker --server=$TALWEG_SERVER" || true) ]] || fail "workers are left"
