// SPDX-License-Identifier: Apache-2.0
//
// For tests only: runs something on every Highway target of this machine, compares bits, makes
// random words.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <ios>
#include <span>

#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace talweg::core {

// Calls `run()` once per Highway target of this machine, and names the target in failures.
template <class Run>
void ForEachTarget(const Run& run) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    run();
    hwy::SetSupportedTargetsForTest(0);
  }
}

// Expects that both have the same bits.
inline void ExpectSameBits(std::span<const float> expected, std::span<const float> got) {
  ASSERT_EQ(expected.size(), got.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::bit_cast<uint32_t>(expected[i]) != std::bit_cast<uint32_t>(got[i])) {
      ADD_FAILURE() << "element " << i << " of " << expected.size() << " is " << std::hexfloat
                    << got[i] << ", expected " << expected[i];
      return;
    }
  }
}

// Random whole numbers for tests, a fixed function of the seed.
class TestNumbers {
 public:
  explicit TestNumbers(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint32_t Word() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<uint32_t>(state_ >> 32);
  }
  uint64_t Below(uint64_t limit) { return (uint64_t{Word()} << 32 | Word()) % limit; }
  // In [-1, 1).
  float Weight() { return static_cast<float>(static_cast<int32_t>(Word())) * 0x1p-31f; }

 private:
  uint64_t state_;
};

}  // namespace talweg::core
