#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Reads what is tracked with every linter. A line `lint NAME ok` each; what is wrong is shown.
#
#   tests/lint.sh                 all of them
#   tests/lint.sh format shell    only these: format header proto python shell spelling tidy
#   tests/lint.sh --fix           formats the C++ instead
#
# The last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

buf_version=1.75.0
tools=build/tools

# What is tracked under our names; google/rpc is as published.
tracked() { git ls-files -z -- "$@" ':!proto/google'; }

format() { tracked '*.cc' '*.h' | xargs -0 -r clang-format --dry-run -Werror; }

header() {
  local file wrong=0
  while IFS= read -r -d '' file; do
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' && continue
    echo "$file: opens without an SPDX line"
    wrong=1
  done < <(tracked '*.cc' '*.h' '*.proto' '*.py' '*.sh' '*.cmake' '*CMakeLists.txt' .ci/run)
  return $wrong
}

# Standard rules and comments, as proto/buf.yaml says.
proto() {
  local buf=$tools/node_modules/.bin/buf
  if [[ $("$buf" --version 2>/dev/null) != "$buf_version" ]]; then
    npm install --prefix "$tools" --no-save --no-audit --no-fund --loglevel=error \
      "@bufbuild/buf@$buf_version" </dev/null || return 1
  fi
  "$buf" lint proto
}

python() {
  tracked '*.py' | xargs -0 -r python3 -c '
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        compile(file.read(), path, "exec")
'
}

shell() { tracked '*.sh' .ci/run | xargs -0 -r shellcheck; }

spelling() {
  git ls-files -z -- ':!proto/google' ':!LICENSE' ':!*.gz' ':!*.npy' ':!*.svg' ':!*.png' \
    ':!*.json' | xargs -0 -r codespell -L atleast,pullrequest,sesion
}

# Clang-tidy with Clang's thread-safety analysis over what users run; tests are left to the compiler.
# The dev build says how each file is compiled, and makes the headers that protoc writes.
tidy() {
  cmake --preset dev >/dev/null &&
    cmake --build --preset dev --target talweg_proto talweg_proto_grpc >/dev/null || return 1
  tracked 'core/*.cc' 'server/*.cc' 'client/*.cc' ':!*_test.cc' ':!*_bench.cc' |
    xargs -0 -r -n 1 -P "$(nproc)" clang-tidy -p build/dev --quiet \
      --extra-arg=-Wthread-safety --extra-arg=-Werror=thread-safety 2>&1 |
    grep -v -E '^[0-9]+ (warnings?|errors?) |^Suppressed |^Use -header-filter'
  # Both the pipe's first command and grep (1: nothing left to show) have a say.
  ((PIPESTATUS[1] == 0))
}

if [[ ${1:-} == --fix ]]; then
  tracked '*.cc' '*.h' | xargs -0 -r clang-format -i
  exit
fi
checks=("$@")
if ((${#checks[@]} == 0)); then
  checks=(format header proto python shell spelling tidy)
fi

deploy/install-deps.sh || {
  echo "0 passed, 1 failed"
  exit 1
}
mkdir -p "$tools"
passed=0
failed=0
for check in "${checks[@]}"; do
  if [[ ! $check =~ ^(format|header|proto|python|shell|spelling|tidy)$ ]]; then
    echo "lint: no check is called '$check'" >&2
    output=
    status=2
  else
    output=$("$check" 2>&1)
    status=$?
  fi
  if ((status == 0)); then
    echo "lint $check ok"
    passed=$((passed + 1))
  else
    printf '%s\n' "$output"
    echo "lint $check failed"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
((failed == 0))
