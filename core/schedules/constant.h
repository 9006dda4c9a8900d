// SPDX-License-Identifier: Apache-2.0
//
// Constant: the rate does not fall.
//
//   decay(t) = 1
#pragma once

#include <cstdint>
#include <tuple>

namespace talweg::core {

struct ConstantDecay {
  static auto Fields() { return std::tuple{}; }

  double At(uint64_t /*step*/) const { return 1; }
};

}  // namespace talweg::core
