#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzzers and lets each of them look for SECONDS (by default 3600), all at the same time.
#
#   tests/fuzz/run.sh [SECONDS]
#
# What they learn stays in build/fuzz/corpus, from which the next run goes on; what they find is in
# build/fuzz/found. The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-3600}
if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then
  sed -n '4,9s/^# \{0,1\}//p' tests/fuzz/run.sh >&2
  exit 2
fi

# A fuzzer, and the longest input that it is given.
fuzzers=(contribution:1024 frame:4096 dtype:512)

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1

no_fuzzers() {
  echo "fuzz: $1" >&2
  echo "0 passed, 1 failed"
  exit 1
}

deploy/install-deps.sh || no_fuzzers "packages are missing"
cmake --preset fuzz || no_fuzzers "configuring failed"
cmake --build --preset fuzz || no_fuzzers "the build failed"

pids=()
for fuzzer in "${fuzzers[@]}"; do
  name=${fuzzer%:*}
  mkdir -p "build/fuzz/corpus/$name" build/fuzz/found
  "build/fuzz/bin/${name}_fuzzer" -max_total_time="$seconds" -max_len="${fuzzer#*:}" -timeout=60 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/found/$name-" "build/fuzz/corpus/$name" \
    </dev/null >"build/fuzz/$name.log" 2>&1 &
  pids+=($!)
done

passed=0
failed=0
for index in "${!fuzzers[@]}"; do
  name=${fuzzers[index]%:*}
  status=0
  wait "${pids[index]}" || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$name.log")
  if ((status == 0 && ${runs:-0} > 0)); then
    echo "$name: $runs cases, nothing found"
    passed=$((passed + 1))
  else
    tail -n 60 "build/fuzz/$name.log"
    echo "$name: failed (status $status)"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
((failed == 0))
