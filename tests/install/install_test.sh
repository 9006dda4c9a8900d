#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/install_test.sh BUILD_DIR PYTHON3 SANITIZE
#
# Installs a build, makes a program of README.md's example and CMake lines against what was
# installed, and runs it against the installed server.
set -euo pipefail
build=$1 python=$2 sanitize=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$build/install_test
prefix=$work/prefix

rm -rf "$work"
mkdir -p "$work/project"
cmake --install "$build" --prefix "$prefix" >"$work/install.log"
[[ -x $prefix/bin/talweg && -f $prefix/share/talweg/proto/talweg/v1/training_service.proto ]]
(cd "$prefix/share/talweg/mnist" && [[ -f README.md ]] &&
  sha256sum --check --strict --quiet SHA256SUMS)
"$python" -B "$here/readme.py" "$work/project"

flags=()
if [[ -n $sanitize ]]; then flags=(-DCMAKE_CXX_FLAGS="-fsanitize=$sanitize"); fi
cmake -S "$work/project" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF "${flags[@]}"
cmake --build "$work/build"

"$here/../support/with_server.sh" "$prefix/bin/talweg-server" "$work/build/worker" '{address}'
