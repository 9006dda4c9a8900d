#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds, and runs the tests.
#
#   tests/run.sh                              everything, in build/dev
#   tests/run.sh --preset asan                another preset of CMakePresets.json
#   tests/run.sh --targets '^core_' -L unit   only the test programs whose names match, only that
#                                             label; what is not an option here goes to ctest
#
# The last line is `N passed, N failed`. A test that did not run (skipped, disabled, not built)
# counts as failed, and so does a run of no test at all. The one exception are the tests of languages
# whose tools are missing: they are named and not counted. With TALWEG_EVERY_LANGUAGE=1, as in CI, the
# tools are installed, and such a test fails.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=dev
pattern=
ctest_arguments=()
while (($# > 0)); do
  case "$1" in
    --preset | --targets)
      if (($# < 2)); then
        echo "run: $1 needs a value" >&2
        exit 2
      fi
      if [[ $1 == --preset ]]; then preset=$2; else pattern=$2; fi
      shift 2
      ;;
    -h | --help)
      sed -n '4,15s/^# \{0,1\}//p' tests/run.sh
      exit 0
      ;;
    *)
      ctest_arguments+=("$1")
      shift
      ;;
  esac
done
build=build/$preset
results=$build/ctest.xml

# Leaks count; the first finding ends the test that has it.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=suppressions=$PWD/tests/tsan.supp:print_suppressions=0:halt_on_error=1:second_deadlock_stack=1

# One line and exit code for whatever goes wrong before ctest has counted anything.
no_tests() {
  echo "run: $1" >&2
  echo "0 passed, 1 failed"
  exit 1
}

deploy/install-deps.sh ${TALWEG_EVERY_LANGUAGE:+--all} || no_tests "packages are missing"
cmake --preset "$preset" || no_tests "configuring failed"
targets=()
if [[ -n $pattern ]]; then
  mapfile -t targets < <(cmake --build "$build" --target help |
    sed -n 's/^\([A-Za-z0-9_]*_test\): phony$/\1/p' | grep -E -- "$pattern")
  ((${#targets[@]} > 0)) || no_tests "no test program matches '$pattern'"
fi
cmake --build "$build" ${targets[0]:+--target "${targets[@]}"} || no_tests "the build failed"

rm -f "$results"
status=0
ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" \
  --output-junit "$PWD/$results" "${ctest_arguments[@]}" </dev/null || status=$?

# ctest opens its report with <testsuite name="..." tests="12" failures="0" disabled="0" ...>.
count() { tr '\n\t' '  ' <"$results" | sed -n "s/.*<testsuite [^>]* $1=\"\([0-9]*\)\".*/\1/p"; }
[[ -f $results ]] || no_tests "ctest left no report"
total=$(count tests)
mapfile -t not_tested < <(sed -n \
  's/.*<testcase name="languages_\([a-z_]*\)_test".* status="notrun".*/\1/p' "$results")
failed=$(($(count failures) + $(count disabled) + $(count skipped) - ${#not_tested[@]}))
passed=$((total - failed - ${#not_tested[@]}))
for language in "${not_tested[@]}"; do
  echo "run: NOT TESTED: code for $language; deploy/install-deps.sh --all installs what it needs" >&2
done
((total > 0)) || no_tests "no test was run"
if ((status != 0 && failed == 0)); then failed=1; fi
echo "$passed passed, $failed failed"
((failed == 0))
