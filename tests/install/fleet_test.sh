#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/fleet_test.sh TALWEG PYTHON ADDRESS
#
# `talweg experiment fleet`, tiny: every mode makes its versions out of gradients of processes, a
# synchronous fleet gives the same bits twice, the killed come back, and however it ends nothing is
# left: no process, no session.
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

# Runs a fleet and wants `condition` of its first run, in Python.
runs() {
  local name=$1 condition=$2
  shift 2
  "$talweg" experiment fleet --data_dir "$folder/mnist" --out_dir "$folder/$name" --json "$@" \
    >"$folder/$name.json" 2>"$folder/$name.log" ||
    fail "$name ended with $?: $(cat "$folder/$name.log")"
  "$python" - "$folder/$name.json" "$condition" <<'PYTHON' || fail "$name: $(cat "$folder/$name.json")"
import json, os, sys
result = json.load(open(sys.argv[1]))
files = [value for value in result.values() if isinstance(value, str)]
assert len(files) == 4 and all(os.path.getsize(file) > 100 for file in files)
assert eval(sys.argv[2], {}, result["runs"][0])
PYTHON
  [[ -z $(alive) ]] || fail "$name left processes: $(alive)"
}
tiny=(--workers 2 --rounds 20 --batch 32)
runs one 'versions == 20 and contributions == 40 and refused == 0 and test_accuracy > 0.4' "${tiny[@]}"
runs two 'versions == 20' "${tiny[@]}" --mode synchronous
curve() { cut -d, -f1-4,6- "$folder/$1/loss.csv"; } # all but the seconds
[[ $(curve one) == "$(curve two)" ]] || fail "the same fleet made other losses"
runs bounded 'versions == 40 and contributions == 40' "${tiny[@]}" --mode bounded_staleness
runs asynchronous 'versions == 40 and refused == 0' "${tiny[@]}" --mode asynchronous
runs first 'versions == 20 and contributions == 20 and late > 0' "${tiny[@]}" --mode k_of_n
[[ $("$talweg" session list) == *"no sessions"* ]] || fail "left behind: $("$talweg" session list)"

for wrong in --workers=0 --mode=chaotic --k=3 --kill-every=never --straggler=0.5 --rounds=0; do
  status=0
  "$talweg" experiment fleet "${tiny[@]}" "$wrong" >/dev/null 2>&1 || status=$?
  ((status == 2)) || fail "$wrong ended with $status"
done

# Kills, with a server of its own. A pace makes the run last: 60 rounds of 50 ms are 3 s. Undisturbed
# it comes to 0.905.
unset TALWEG_SERVER
runs kills 'versions == 60 and kills >= 1 and seconds > 2 and test_accuracy > 0.88' \
  --workers 3 --rounds 60 --batch 32 --pace 50ms --kill-every 1.5s --lease_seconds 1

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
