#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that Talweg needs (Debian 12 or newer), as root or with sudo.
#
#   deploy/install-deps.sh             to build, test and lint
#   deploy/install-deps.sh --minimal   to build and run: no PyTorch, no linters
#   deploy/install-deps.sh --all       also what tests/languages asks for: gRPC for Go, Java, Python
#
# Asks dpkg what is missing and installs only that: nothing is upgraded, and nothing is downloaded
# if nothing is missing. Node, npm, Python, Go and Java are taken as found on PATH; Debian's are
# installed only if there is none.
set -euo pipefail

# Compilers, then libraries in the order of the root CMakeLists.txt.
packages=(
  build-essential ccache cmake ninja-build pkg-config
  protobuf-compiler libprotobuf-dev libabsl-dev libgrpc++-dev protobuf-compiler-grpc
  libeigen3-dev libopenblas-pthread-dev libhwy-dev libspdlog-dev zlib1g-dev libssl-dev nlohmann-json3-dev
  libisal-dev libzip-dev libgtest-dev libgmock-dev libbenchmark-dev
)
# What tests and linters ask for beyond that: the peer of the golden vectors and the benchmarks
# (Debian's own interpreter carries it), what reads the files for Kubernetes, Clang's fuzzer, and the
# tools of tests/lint.sh.
more_packages=(
  python3-torch python3-numpy python3-yaml procps
  clang libclang-rt-dev clang-format clang-tidy codespell git shellcheck
)
# What generates and compiles code for other languages.
language_packages=(
  golang-google-grpc-dev golang-google-protobuf-dev protoc-gen-go-1-5 protoc-gen-go-grpc
  libgrpc-java libprotobuf-java libguava-java libgeronimo-annotation-1.3-spec-java
  protobuf-compiler-grpc-java-plugin
  python3-grpcio python3-protobuf
)

minimal=false
all=false
for argument in "$@"; do
  case "$argument" in
    --minimal) minimal=true ;;
    --all) all=true ;;
    -h | --help)
      sed -n '4,12s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "install-deps: unknown option '$argument' (known: --minimal, --all, --help)" >&2
      exit 2
      ;;
  esac
done

fail() {
  printf 'install-deps: %s\n' "$@" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

if ! has dpkg-query || ! has apt-get; then
  fail "this machine has no apt-get; Talweg is built on Debian 12 or newer." \
    "Elsewhere, install what the packages at the top of $0 hold, then use CMake directly."
fi

has python3 || packages+=(python3)
if ! $minimal; then
  packages+=("${more_packages[@]}")
  # `buf` comes through npm. Debian's npm brings its own node, so it stays away from another one.
  if ! has npm && ! has node; then packages+=(npm); fi
fi
if $all; then
  packages+=("${language_packages[@]}")
  has go || packages+=(golang-go)
  has javac || packages+=(default-jdk-headless)
fi

installed=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' \
  "${packages[@]}" 2>/dev/null | sed -n 's/ installed$//p' || true)
missing=()
for package in "${packages[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install-deps: all ${#packages[@]} packages are there"
  exit 0
fi

as_root=()
if [[ $(id -u) != 0 ]]; then
  has sudo || fail "these packages are missing and only root may install them: ${missing[*]}" \
    "Run this script as root, or install sudo."
  as_root=(sudo)
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

echo "install-deps: installing ${missing[*]}"
for attempt in 1 2; do
  # A foreign source that does not answer must not stop us: what counts is whether the install works.
  apt update || echo "install-deps: apt-get update failed; trying with the lists at hand" >&2
  if apt install --no-install-recommends "${missing[@]}"; then
    echo "install-deps: installed ${#missing[@]} packages"
    exit 0
  fi
  if ((attempt == 1)); then
    echo "install-deps: apt-get install failed; once more in 10 s" >&2
    sleep 10
  fi
done
fail "apt-get could not install: ${missing[*]}" \
  "The lines above say why. Is this Debian 12 or newer, with network and main in its sources?"
