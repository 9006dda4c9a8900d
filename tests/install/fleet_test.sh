#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/fleet_test.sh TALWEG PYTHON ADDRESS
#
# `talweg experiment fleet`, tiny: every mode makes its versions out of gradients of processes, a
# synchronous fleet gives the same bits twice, a straggler costs what waits for it, the killed come
# back and contribute, and however it ends nothing is left: no process, no session.
set -euo pipefail
talweg=$1
python=$2
export TALWEG_SERVER=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
  echo "fleet_test: $1" >&2
  exit 1
}

# A name of its own for the data marks the processes of this test.
"$talweg" experiment fleet_worker --help >"$folder/help"
grep -q 'step VERDICT VERSION LOSS' "$folder/help" || fail "fleet_worker has no help"
build=$(cd "$(dirname "$talweg")/.." && pwd)
for data in "$build/share/talweg/mnist" "$(dirname "$0")/../../client/data/mnist"; do
  [[ -d $data ]] && ln -s "$(cd "$data" && pwd)" "$folder/mnist" && break
done
alive() { pgrep -f -- "--data_dir=$folder/mnist" || true; }

# Runs a fleet and wants `condition`, in Python: of its first run, of all `runs`, and of how many
# `contributors` each version had.
runs() {
  local name=$1 condition=$2
  shift 2
  "$talweg" experiment fleet --data_dir "$folder/mnist" --out_dir "$folder/$name" --json "$@" \
    >"$folder/$name.json" 2>"$folder/$name.log" ||
    fail "$name ended with $?: $(cat "$folder/$name.log")"
  "$python" - "$folder/$name.json" "$condition" <<'PYTHON' || fail "$name: $(cat "$folder/$name.json")"
import csv, json, os, sys
result = json.load(open(sys.argv[1]))
files = [value for value in result.values() if isinstance(value, str)]
assert len(files) == 4 and all(os.path.getsize(file) > 100 for file in files)
contributors = [int(row["contributors"]) for row in csv.DictReader(open(result["curves"]))]
known = dict(result["runs"][0], runs=result["runs"], contributors=contributors)
assert eval("(" + sys.argv[2] + ")", known)
PYTHON
  [[ -z $(alive) ]] || fail "$name left processes: $(alive)"
}
tiny=(--workers 2 --rounds 20 --batch 32)
# Of two gradients the sum would be the same in either order.
four=(--workers 4 --rounds 20 --batch 32)
runs one 'versions == 20 and contributions == 80 and refused == 0 and test_accuracy > 0.4' "${four[@]}"
runs two 'versions == 20' "${four[@]}" --mode synchronous
curve() { cut -d, -f1-4,6- "$folder/$1/loss.csv"; } # all but the seconds
[[ $(curve one) == "$(curve two)" ]] || fail "the same fleet made other losses"
runs bounded 'versions == 40 and contributions == 40' "${tiny[@]}" --mode bounded_staleness
runs asynchronous 'versions == 40 and refused == 0' "${tiny[@]}" --mode asynchronous
runs first 'versions == 20 and contributions == 20 and late > 0' "${tiny[@]}" --mode k_of_n
# A straggler sleeps: all workers that wait for it take ten times as long, on any machine.
runs compare '[run["mode"] for run in runs] == ["synchronous", "bounded_staleness", "asynchronous",
  "k_of_n", "synchronous"] and [run["slowdown"] for run in runs] == [10, 10, 10, 10, 1] and
  runs[0]["seconds"] > 2 * runs[3]["seconds"] and runs[0]["seconds"] > 2 * runs[4]["seconds"]' \
  --workers 2 --rounds 10 --batch 32 --compare --straggler=10 --pace 20ms
for plot in rounds time; do
  grep -q 'without the straggler' "$folder/compare/$plot.svg" || fail "$plot.svg compares nothing"
done
[[ $("$talweg" session list) == *"no sessions"* ]] || fail "left behind: $("$talweg" session list)"

for wrong in --workers=0 --mode=chaotic --k=3 --kill-every=never --straggler=0.5 --rounds=0; do
  status=0
  "$talweg" experiment fleet "${tiny[@]}" "$wrong" >/dev/null 2>&1 || status=$?
  ((status == 2)) || fail "$wrong ended with $status"
done

# Kills, with a server of its own. A pace makes the run last: 100 rounds of 50 ms are 5 s, and by its
# seed the first to be killed is away for 0.3 s. Three again after two are one that came back. After
# 60 rounds it comes to 0.907 undisturbed.
unset TALWEG_SERVER
runs kills 'versions == 100 and kills >= 1 and restarts >= 1 and seconds > 4 and
  3 in contributors[contributors.index(2):] and test_accuracy > 0.88' \
  --workers 3 --rounds 100 --batch 32 --pace 50ms --kill-every 1.5s --lease_seconds 1

# However it ends. (A shell's background job starts with SIGINT ignored, hence `env`.)
for signal in INT KILL; do
  env --default-signal=INT "$talweg" experiment fleet --data_dir "$folder/mnist" --workers 2 \
    --rounds 1000000 --out_dir "$folder/stopped" >/dev/null 2>"$folder/stopped.log" &
  running=$!
  for ((i = 0; i < 600; i++)); do
    (($(alive | wc -l) == 2)) && break
    sleep 0.1
  done
  (($(alive | wc -l) == 2)) || fail "no fleet is where this test looks: $(cat "$folder/stopped.log")"
  children=$(pgrep -P "$running") # the server among them
  kill -"$signal" "$running"
  status=0
  { wait "$running" || status=$?; } 2>/dev/null # the shell would tell who killed it
  [[ $signal == KILL ]] || ((status == 130)) || fail "after Ctrl-C it ended with $status"
  for ((i = 0; i < 300; i++)); do
    left=$(for child in $children; do ps -o pid=,stat=,args= -p "$child" | grep -v ' Z' || true; done)
    [[ -z $left ]] && break
    sleep 0.1
  done
  [[ -z $left ]] || fail "after SIG$signal these are left: $left"
done
