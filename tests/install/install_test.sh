#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/install_test.sh BUILD_DIR PYTHON3 SANITIZE
#
# Installs a build, makes a program of README.md's example and CMake lines against what was
# installed, and runs it against the installed server. So does the example of client/README.md.
# Other programs link the leaf rooms of core that are installed for clients, and the replay.
set -euo pipefail
build=$1 python=$2 sanitize=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$build/install_test
prefix=$work/prefix

rm -rf "$work"
mkdir -p "$work/project"
cmake --install "$build" --prefix "$prefix" >"$work/install.log"
[[ -x $prefix/bin/talweg && -f $prefix/share/talweg/proto/talweg/v1/training_service.proto ]]
[[ -f $prefix/share/talweg/proto/CLIENTS.md && -f $prefix/share/talweg/proto/NOISE.md ]]
(cd "$prefix/share/talweg/mnist" && [[ -f README.md ]] &&
  sha256sum --check --strict --quiet SHA256SUMS)
"$python" -B "$here/readme.py" "$work/project"

cat >"$work/project/leaves.cc" <<'CXX'
#include "core/base/checksum.h"
#include "core/base/half_float.h"
#include "core/noise/philox.h"

int main() {
  using namespace talweg::core;
  const PhiloxWords words = Philox({0, 0, 0, 0}, {0, 0});  // Random123's first answer
  const bool right = Crc32c("123456789") == 0xe3069283 && Float16FromFloat32(1) == 0x3c00 &&
                     words[0] == 0x6627e8d5;
  return right ? 0 : 1;
}
CXX
cat >"$work/project/replay.cc" <<'CXX'
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/perturbation.h"
#include "client/replay/replay.h"

int main() {  // a session without a search cannot be replayed
  return talweg::Replay::Begin(talweg::v1::SessionConfig(), 0, {}).ok() ? 1 : 0;
}
CXX
cp "$here/../../client/cpp/example/search_worker.cc" "$work/project"
cat >>"$work/project/CMakeLists.txt" <<'CMAKE'
add_executable(search_worker search_worker.cc)
target_link_libraries(search_worker PRIVATE talweg::client)
add_executable(replay replay.cc)
target_link_libraries(replay PRIVATE talweg::client talweg::replay)
add_executable(leaves leaves.cc)
target_link_libraries(leaves PRIVATE talweg::core_base talweg::core_noise)
CMAKE

flags=()
if [[ -n $sanitize ]]; then flags=(-DCMAKE_CXX_FLAGS="-fsanitize=$sanitize"); fi
cmake -S "$work/project" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF "${flags[@]}"
cmake --build "$work/build"
"$work/build/leaves"
"$work/build/replay"

"$here/../support/with_server.sh" "$prefix/bin/talweg-server" "$work/build/worker" '{address}'
"$here/../support/with_server.sh" "$prefix/bin/talweg-server" "$here/search_example_test.sh" \
  "$work/build/search_worker" '{address}'
