#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/search_example_test.sh EXAMPLE ADDRESS
#
# The example of client/README.md, a worker that searches, finds the line and leaves no session. It
# does so twice, because nothing of the first time is in its way.
set -euo pipefail
for time in first second; do
  said=$("$1" "$2")
  [[ $said =~ ^y\ =\ (2\.0|1\.9)[0-9]{2}\ x\ \+\ (1\.0|0\.9)[0-9]{2}\ at\ version\ 200$ ]] || {
    echo "search_example_test: the $time time it said: $said" >&2
    exit 1
  }
done
