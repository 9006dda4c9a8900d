#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/cli_test.sh TALWEG PYTHON ADDRESS
#
# The life of a session by the command line against a real server: what client/cli/README.md shows,
# with the numbers held against NumPy's reading of the files.
set -euo pipefail
talweg=$1
python=$2
export TALWEG_SERVER=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
  echo "cli_test: $1" >&2
  exit 1
}
# Runs talweg, wants exit code $1 and the words $2 somewhere in what it prints.
expect() {
  local code=$1 words=$2 output status=0
  shift 2
  output=$("$talweg" "$@" 2>&1) || status=$?
  ((status == code)) || fail "talweg $* ended with $status, expected $code: $output"
  [[ $output == *"$words"* ]] || fail "talweg $* does not say '$words': $output"
}
# float32 files by hand, so that no NumPy is needed: header of version 1, then little-endian numbers.
npy() {
  "$python" - "$@" <<'PYTHON'
import struct, sys
name, values = sys.argv[1], [float(v) for v in sys.argv[2:]]
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % len(values)
header += " " * (-(len(header) + 11) % 64) + "\n"
with open(name, "wb") as file:
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    file.write(struct.pack("<%df" % len(values), *values))
PYTHON
}
floats() {
  "$python" - "$1" <<'PYTHON'
import struct, sys
data = open(sys.argv[1], "rb").read()
start = 10 + struct.unpack("<H", data[8:10])[0]
print(*struct.unpack("<%df" % ((len(data) - start) // 4), data[start:]))
PYTHON
}

npy initial.npy 1 2 3
npy gradient.npy 2 -4 8
npy short.npy 2 -4
cp short.npy drawn.npy
npy bad.npy 2 nan 8

expect 0 "no sessions" session list
expect 0 "gradient_descent" session create line --layout "w:2 b" --optimizer gradient_descent \
  --learning_rate 0.5 --initial initial.npy
expect 1 "SESSION_EXISTS" session create line --layout "w:2 b" --optimizer gradient_descent \
  --learning_rate 0.5 --initial initial.npy
expect 0 "line" session list
expect 0 "APPLIED" step line --gradient gradient.npy --output stepped.npy --worker a
[[ $(floats stepped.npy) == "0.0 4.0 -1.0" ]] || fail "the step gave $(floats stepped.npy)"
expect 1 "short.npy has the shape (2,), the layout has 3 elements in 2 tensors" step line \
  --gradient short.npy --worker a
expect 1 "drawn.npy has the shape (2,)" session create drawn --layout "w:2 b" --initial drawn.npy \
  --optimizer gradient_descent --learning_rate 0.5
expect 2 "--initial and --seed exclude each other" session create drawn --layout "w:2 b" \
  --optimizer gradient_descent --learning_rate 0.5 --initial initial.npy --seed 3
expect 0 "beta1=0.8 beta2=0.9" session create drawn --layout "w:2 b" --learning_rate 0.5 \
  --optimizer adam:0.8,0.9 --set amsgrad --init "*=normal:0,0.02"
expect 0 "amsgrad=true" session get drawn
expect 0 "" session delete drawn
expect 1 "the contribution was refused: REJECTED_NON_FINITE" step line --gradient bad.npy \
  --output refused.npy --worker a
expect 1 "judged at version" step line --gradient bad.npy --worker a
expect 1 '"verdict": "VERDICT_REJECTED_NON_FINITE"' step line --gradient bad.npy --json
[[ ! -e refused.npy ]] || fail "a refused step wrote its --output"
expect 0 "w:2 b:scalar" session get line
expect 0 "learning_rate=0.25" session update line --learning_rate 0.25
expect 0 "APPLIED" step line --gradient gradient.npy --worker a
expect 0 "version 2" pull line --output pulled.npy
[[ $(floats pulled.npy) == "-0.5 5.0 -3.0" ]] || fail "the pull gave $(floats pulled.npy)"
expect 1 "HYPERPARAMETER_OUT_OF_RANGE" session update line --learning_rate -1
expect 1 "SESSION_NOT_FOUND" session get nobody
expect 2 "help" session get
version=$("$talweg" session get line --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)["version"])')
[[ $version == 2 ]] || fail "--json tells version $version"
expect 0 "adam beta1=0.8" session create mlp --layout "w:784,512 b:512" --optimizer adam \
  --set beta1=0.8 --learning_rate 0.001 --schedule cosine:total_steps=1000 \
  --init "w=kaiming b=constant:0" --seed 1
expect 0 "no session was made" session create dry --layout "w:2 b" --optimizer gradient_descent \
  --learning_rate 0.5 --init "*=constant:1" --dry_run
expect 1 "SESSION_NOT_FOUND" session get dry
expect 0 "groups" session create tuned --layout "w:2 b" --optimizer gradient_descent \
  --learning_rate 0.5 --initial initial.npy --clip_norm 2 --clip_value 1.5 --weight_decay 0.5 \
  --average_decay 0.5 --accumulation_steps 2 --groups "b=decay_factor:0,max_norm:100"
expect 0 "max_norm=2" session get tuned
expect 0 "gradient_accumulation_steps=2" session get tuned
expect 0 "b=decay_factor:0,max_norm:100" session get tuned
expect 0 "PENDING" step tuned --gradient gradient.npy --worker a
expect 0 "clip_factor=0.447" step tuned --gradient gradient.npy --worker a --output tuned.npy
read -ra tuned <<<"$(floats tuned.npy)"
"$python" - "${tuned[@]}" <<'PYTHON'
import sys
# w is clipped by its norm, sqrt(20), to 2, then by value; b alone by value. w decays, b does not.
root = 20 ** 0.5
expected = [1 * 0.75 - 0.5 * 4 / root, 2 * 0.75 + 0.5 * 1.5, 3 - 0.5 * 1.5]
got = [float(word) for word in sys.argv[1:]]
assert all(abs(a - b) < 1e-5 for a, b in zip(got, expected)), (got, expected)
PYTHON
expect 0 "w=frozen" session update tuned --groups "w=frozen" --clip_value 0
expect 0 "session" session update tuned --groups ""
[[ $("$talweg" session get tuned) != *groups* ]] || fail "groups are still there"
expect 1 "config.groups[0].tensors" session update tuned --groups "x=frozen"
expect 2 "ParameterGroup has no field" session update tuned --groups "b=rate:1"
expect 0 "close=COUNT close_count=3" session create fleet --layout "w:2 b" --optimizer adam \
  --learning_rate 0.5 --init "*=constant:1" --dry_run \
  --aggregation mode=SYNCHRONOUS,close=COUNT,close_count=3
expect 1 "aggregation.close_count" session create fleet --layout "w:2 b" --optimizer adam \
  --learning_rate 0.5 --init "*=constant:1" --dry_run --aggregation mode=SYNCHRONOUS,close=COUNT
expect 2 "there are: ALL, COUNT" session update tuned --aggregation close=SOMETIMES
expect 0 "num_pairs=50 sigma=0.05" session create searches --layout "w:3" --optimizer adam \
  --learning_rate 0.5 --init "w=normal" \
  --search method=EVOLUTION_STRATEGY,num_pairs=50,sigma=0.05,shaping=CENTERED_RANKS
expect 1 "config.search.rank" session create low --layout "w:3,2" --optimizer adam \
  --learning_rate 0.5 --init "w=normal" --dry_run \
  --search method=EVOLUTION_STRATEGY,perturbation=LOW_RANK
expect 0 "num_pairs=20 sigma=0.25" session update searches --search num_pairs=20,sigma=0.25
expect 1 "FIELD_IMMUTABLE" session update searches --search seed=3
expect 1 "config.search.sigma" session update searches --search sigma=-1
expect 2 "there are: CENTRAL, ONE_SIDED" session update searches --search differences=NONE
expect 2 'no field "population"' session update searches --search population=50
expect 0 "deleted searches" session delete searches
expect 0 "mode=SYNCHRONOUS" session create pair --layout "w:2 b" --optimizer gradient_descent \
  --learning_rate 0.5 --initial initial.npy --aggregation mode=SYNCHRONOUS,close=COUNT,close_count=2
expect 0 "PENDING" step pair --gradient gradient.npy --weight 3 --no_wait --worker a
expect 1 "header.weight" step pair --gradient gradient.npy --weight 0 --worker b
expect 0 "APPLIED" step pair --gradient gradient.npy --difference --worker b --output pair.npy
# (3 g - g) / 4, half of it off the first values.
"$python" - "$(floats pair.npy)" "$(floats initial.npy)" "$(floats gradient.npy)" <<'PYTHON'
import sys
got, initial, gradient = [[float(word) for word in argument.split()] for argument in sys.argv[1:]]
assert got == [w - 0.25 * g for w, g in zip(initial, gradient)], (got, initial, gradient)
PYTHON
expect 0 "version 1" pull pair --min_version 1 --output pair.npy
expect 0 "2: a b" session records pair
expect 0 '"weight": 3' session records pair --json
# A worker's place by hand: what join prints, heartbeat and leave take.
expect 0 "lease" session join pair --worker c --role gradient
joined=$("$talweg" session join pair --worker c --json)
read -ra place <<<"$("$python" -c 'import json, sys; place = json.load(sys.stdin)
print(place["incarnation"], place["history"], place["version"], place["lease_seconds"])' <<<"$joined")"
((place[2] == 1 && place[3] > 0)) || fail "join tells ${place[*]}"
expect 0 "incarnation  ${place[0]}" session heartbeat pair --worker c --incarnation "${place[0]}"
expect 0 "history      ${place[1]}" session heartbeat pair --worker c --incarnation "${place[0]}" \
  --history "${place[1]}"
expect 0 '"version": "1"' session heartbeat pair --worker c --incarnation "${place[0]}" --json
expect 1 "HISTORY_CHANGED" session heartbeat pair --worker c --incarnation "${place[0]}" --history 1
expect 1 "INCARNATION" session leave pair --worker c --incarnation 1
expect 0 "c has left pair" session leave pair --worker c --incarnation "${place[0]}"
expect 1 "WORKER_NOT_JOINED" session leave pair --worker c --incarnation "${place[0]}"
expect 1 "WORKER_NOT_JOINED" session heartbeat pair --worker c --incarnation "${place[0]}"
expect 2 "--incarnation is needed" session leave pair --worker c
expect 1 "WRONG_METHOD" session join pair --worker c --role search
expect 1 "SESSION_NOT_FOUND" session join nobody
# A gradient of an older version counts as long as it is young enough.
expect 0 "gradient_descent" session create late --layout "w:2 b" --optimizer gradient_descent \
  --learning_rate 0.5 --initial initial.npy --max_staleness 1
expect 0 "APPLIED" step late --gradient gradient.npy --worker a
expect 0 "APPLIED" step late --gradient gradient.npy --worker a --base_version 0
expect 1 "STALE" step late --gradient gradient.npy --worker a --base_version 0
expect 1 "base_version" step late --gradient gradient.npy --worker a --base_version 3
expect 0 '"base_version": "0"' session records late --json
expect 0 "the loss is nan: it is recorded as it is" step late --gradient gradient.npy --loss nan
expect 1 'keeps no average of its parameters; one is kept from the start on: talweg session create ... --average_decay' \
  pull late --point average --output pulled.npy
expect 0 "elements of version" pull tuned --point average --output pulled.npy
# A reader that has seen enough ends a watch, in which nothing moves, without a word.
for format in --lines --json; do
  quiet=$( (timeout 20 "$talweg" session watch late "$format" || echo "ended with $?") 2>&1 | head -1)
  ended=$( (timeout 20 "$talweg" session watch late "$format" 2>&1 >&3 || echo "with $?") 3> >(head -1 >/dev/null))
  [[ $quiet == *version* && -z $ended ]] || fail "session watch $format | head -1 ends $ended: $quiet"
done
full=$("$talweg" session get late 2>&1 >/dev/full) && fail "what could not be written was done"
[[ $full == "talweg: standard output takes no more" ]] || fail "a full disk is told as: $full"
waits=$("$talweg" session list --server 127.0.0.1:1 --timeout 1.5 2>&1) && fail "no server listed"
[[ $waits == *"answers at 127.0.0.1:1 yet; trying for 1.5 s in all"*"within 1.5 s: nothing listens at this address: "* ]] ||
  fail "a server that is not there is told as: $waits"
expect 0 "" session delete late
expect 0 "" session delete pair
expect 0 "" session delete tuned
expect 0 "" session delete mlp
expect 0 "" session delete line
expect 0 "no sessions" session list
