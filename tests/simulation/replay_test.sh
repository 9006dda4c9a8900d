#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The command that a failing test prints shows the failure again, and the same each time.
#
#   replay_test.sh PATH_OF_simulation_replay
set -euo pipefail
replay=$1

fail() {
  echo "replay: $1" >&2
  exit 1
}

"$replay" --world bounded --seed 3 >/dev/null || fail "a sound world fails"
first=$("$replay" --world bounded --seed 3 --trace)
[[ $(wc -l <<<"$first") -gt 100 ]] || fail "the trace is short"
[[ $first == "$("$replay" --world bounded --seed 3 --trace)" ]] || fail "a replay differs"

# Mutation 7: the history is not checked. What it prints can be run.
status=0
broken=$("$replay" --world every --seed 0 --seeds 100 --mutation 7) || status=$?
[[ $status == 1 && $broken == *foreign_history_taken* ]] || fail "a broken machine passes"
command=$(grep -m 1 -o -- '--world .*' <<<"$broken")
status=0
# shellcheck disable=SC2086  # words of the command
again=$("$replay" $command) || status=$?
[[ $status == 1 && $again == *"VIOLATION foreign_history_taken"* ]] ||
  fail "the printed command does not show the failure"
status=0
"$replay" --world nowhere --seed 1 2>/dev/null || status=$?
[[ $status == 2 ]] || fail "an unknown world is taken"
