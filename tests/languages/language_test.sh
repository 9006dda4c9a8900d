#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/languages/language_test.sh LANGUAGE FOLDER [ADDRESS [SEARCH_WORKER]]
#   tests/languages/language_test.sh noise_LANGUAGE FOLDER
#
# Generates code for LANGUAGE (go java python typescript, or names for the others) from proto/talweg
# in the empty folder FOLDER, with the commands of proto/CLIENTS.md, adds what that page shows for
# the language, and compiles both. Python and TypeScript also run: as workers of the server at
# ADDRESS. Python shares a search with SEARCH_WORKER, a worker in C++.
#
# noise_go, noise_java and noise_node instead hold what client/ has of proto/NOISE.md against
# proto/vectors/noise.json, and noise_page does it with the formulas of the page.
#
# Exit code 77 (skipped) if a tool of the language is missing; but 1 if TALWEG_EVERY_LANGUAGE is set,
# as in CI. `deploy/install-deps.sh --all` installs what comes from Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."

language=$1
folder=$2
address=${3:-}
search_worker=${4:-}
here=$PWD/tests/languages
proto=$PWD/proto
page=$proto/CLIENTS.md
rm -rf "$folder"
mkdir -p "$folder"

missing() {
  echo "languages: $language is NOT TESTED: $1 (deploy/install-deps.sh --all installs it)" >&2
  [[ -z ${TALWEG_EVERY_LANGUAGE:-} ]] || exit 1
  exit 77
}
need() {
  local tool
  for tool in "$@"; do
    if [[ $tool == */* ]]; then
      [[ -e $tool ]] || missing "there is no $tool"
    else
      command -v "$tool" >/dev/null 2>&1 || missing "there is no $tool"
    fi
  done
}

# Prints the block of the page that is marked as ```$1: the first one, or number $2.
shown() {
  awk -v mark="\`\`\`$1" -v wanted="${2:-1}" '$0 == "```" { inside = 0 }
    inside && count == wanted; $0 == mark { inside = 1; ++count }
    END { exit count < wanted }' "$page"
}

# The four commands that generate code, as the page shows them for a folder `gen`.
generate() {
  local command
  command=$(grep -E "^protoc .*--$1" "$page") || {
    echo "$page shows no command with --$1" >&2
    exit 1
  }
  mkdir -p "$folder/gen"
  (cd "$folder" && ln -sfn "$proto" proto && bash -euc "$command")
}

go_test() {
  need go protoc protoc-gen-go protoc-gen-go-grpc /usr/share/gocode/src/google.golang.org/grpc
  # Debian's libraries are a GOPATH; nothing is downloaded.
  local path=$folder/gopath
  generate go_out
  mkdir -p "$path/src/worker"
  mv "$folder/gen" "$path/src/worker/"
  shown go >"$path/src/worker/main.go"
  (cd "$path/src/worker" && GO111MODULE=off GOFLAGS='' GOTOOLCHAIN=local \
    GOPATH=$path:/usr/share/gocode go build -o "$folder/worker" .)
}

java_test() {
  local jars=(/usr/share/java/{protobuf,grpc-api,grpc-stub,grpc-protobuf,guava}.jar
    /usr/share/java/geronimo-annotation-1.3-spec.jar)
  need javac protoc grpc_java_plugin "${jars[@]}"
  generate java_out
  shown java >"$folder/gen/Channels.java"
  local path
  path=$(printf '%s:' "${jars[@]}")
  find "$folder/gen" -name '*.java' >"$folder/sources"
  javac -nowarn -d "$folder/classes" -cp "$path" @"$folder/sources"
}

python_test() {
  local python found=
  for python in python3 /usr/bin/python3; do
    "$python" -c 'import grpc, google.protobuf' 2>/dev/null || continue
    found=$python
    break
  done
  [[ -n $found ]] || missing "no python3 has grpc"
  need protoc grpc_python_plugin
  generate python_out
  shown python >"$folder/worker.py"
  shown python 2 >"$folder/search_worker.py"
  PYTHONDONTWRITEBYTECODE=1 "$found" -m compileall -q "$folder/gen"
  PYTHONPATH=$folder/gen "$found" "$folder/worker.py" "$address"
  PYTHONPATH=$folder/gen:$folder "$found" -B "$here/page_test.py" "$address"
  PYTHONPATH=$folder/gen "$found" -B "$here/digest_test.py" "$address" \
    "$proto/vectors/state_digest.json"
  "$found" -c 'import numpy' 2>/dev/null || missing "$found has no numpy"
  PYTHONPATH=$folder/gen:client/python "$found" -B "$folder/search_worker.py" "$address"
  PYTHONPATH=$folder/gen:$folder:client/python "$found" -B "$here/search_page_test.py" "$address"
  PYTHONPATH=$folder/gen "$found" -B "$here/search_test.py" "$address" "$search_worker"
}

typescript_test() {
  need node npm
  cp "$here/package.json" "$here/package-lock.json" "$folder"
  npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error </dev/null ||
    missing "npm could not install $(tr -d '\n' <"$here/package.json")"
  local command
  command=$(grep -E '^npx proto-loader-gen-types ' "$page")
  (cd "$folder" && ln -sfn "$proto" proto && bash -euc "$command")
  shown typescript >"$folder/worker.ts"
  (cd "$folder" && npx tsc --strict --skipLibCheck --target es2020 --module commonjs worker.ts gen/*.ts)
  (cd "$folder" && node worker.js "$address")
}

# What users of other languages write, read from what protoc alone can generate.
names_test() {
  need protoc
  local kind
  for kind in csharp ruby php objc; do
    mkdir -p "$folder/$kind"
    protoc -Iproto "--${kind}_out=$folder/$kind" proto/talweg/v1/*.proto
  done
  grep -q '^namespace Talweg.V1 {' "$folder/csharp/Session.cs"
  grep -q '^  module V1' "$folder/ruby/talweg/v1/session_pb.rb"
  grep -q '^namespace Talweg\\V1;' "$folder/php/Talweg/V1/Session.php"
  grep -q '^@interface TLWSession ' "$folder/objc/talweg/v1/Session.pbobjc.h" ||
    grep -q 'TLWSession : GPBMessage' "$folder/objc/talweg/v1/Session.pbobjc.h"
}

noise_go_test() {
  need go gofmt
  local go=(env GO111MODULE=on GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local go)
  local machine fused
  (
    cd client/go
    [[ -z $(gofmt -l .) ]] || {
      gofmt -d .
      exit 1
    }
    "${go[@]}" vet ./noise
    "${go[@]}" test -count=1 ./noise
  )
  # Other machines have instructions that round x*y + z once. None may be among ours.
  for machine in arm64 ppc64le; do
    (cd client/go && GOARCH=$machine "${go[@]}" build -gcflags=-S ./noise) >"$folder/$machine.s" 2>&1
    grep -qE '(noise|weights|perturbation)\.go:[0-9]+\).*MUL' "$folder/$machine.s" || {
      echo "noise_go: $folder/$machine.s shows no product" >&2
      exit 1
    }
    if fused=$(grep -E '\)\s+W?FN?M(ADD|SUB)' "$folder/$machine.s"); then
      printf 'noise_go: fused on %s:\n%s\n' "$machine" "$fused" >&2
      exit 1
    fi
  done
}

noise_java_test() {
  need javac java
  javac -Xlint:all -Werror -d "$folder" client/java/talweg/noise/*.java "$here/NoiseTest.java"
  java -cp "$folder" NoiseTest "$proto/vectors/noise.json"
}

# The formulas of proto/NOISE.md, read from there.
noise_page_test() {
  local python found=
  for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null || continue
    found=$python
    break
  done
  [[ -n $found ]] || missing "no python3 has numpy"
  "$found" -B "$here/noise_page_test.py" "$proto/NOISE.md" "$proto/vectors/noise.json"
}

noise_node_test() {
  need node
  node "$here/noise_test.mjs" "$proto/vectors/noise.json"
}

case "$language" in
  noise_go | noise_java | noise_node | noise_page)
    "${language}_test"
    exit
    ;;
  go | java | python | typescript | names) "${language}_test" ;;
  *)
    echo "language_test: no test is called '$language'" >&2
    exit 2
    ;;
esac
echo "$language: generated and compiled"
