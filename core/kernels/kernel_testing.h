// SPDX-License-Identifier: Apache-2.0
//
// For tests only: runs something on every Highway target of this machine, makes awkward floats,
// compares bits.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace talweg::core {

// Calls `run()` once per target, with every kernel dispatched to that target, and names the target
// in failures.
template <class Run>
void ForEachTarget(const Run& run) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    run();
    hwy::SetSupportedTargetsForTest(0);
  }
}

// Numbers of either sign, with magnitudes from far below the smallest normal square root to 2^20;
// zeros and denormals are among them. They are a fixed function of the seed.
inline std::vector<float> AwkwardFloats(size_t size, uint64_t seed) {
  std::vector<float> values(size);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (float& value : values) {
    state = state * 6364136223846793005 + 1442695040888963407;
    const uint32_t bits = static_cast<uint32_t>(state >> 32);
    if (bits % 16 == 0) {
      value = 0;
    } else if (bits % 16 == 1) {
      value = std::ldexp(static_cast<float>(bits >> 8), -149);  // denormal
    } else {
      const int exponent = static_cast<int>(bits >> 4 & 63) - 67;
      value = std::ldexp(static_cast<float>(bits >> 10), exponent);
    }
    if ((state >> 20 & 1) != 0) value = -value;
  }
  return values;
}

// The index of the first element that differs in a bit, or the size.
inline size_t FirstDifference(absl::Span<const float> a, absl::Span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return i;
  }
  return a.size();
}

// Expects that both have the same bits.
inline void ExpectSameBits(absl::Span<const float> expected, absl::Span<const float> got) {
  const size_t at = FirstDifference(expected, got);
  if (at < expected.size()) {
    ADD_FAILURE() << "element " << at << " of " << expected.size() << " is " << std::hexfloat
                  << got[at] << ", expected " << expected[at];
  }
}

// Sizes around every vector width, and two large ones.
inline std::vector<size_t> KernelSizes() {
  std::vector<size_t> sizes;
  for (size_t size = 0; size <= 70; ++size) sizes.push_back(size);
  sizes.push_back(4096);
  sizes.push_back(100003);
  return sizes;
}

// A vector that starts `offset` floats past a 64-byte boundary.
class OffsetVector {
 public:
  OffsetVector(absl::Span<const float> values, size_t offset)
      : buffer_(values.size() + offset + 1), offset_(offset), size_(values.size()) {
    if (size_ > 0) std::memcpy(span().data(), values.data(), size_ * sizeof(float));
  }
  absl::Span<float> span() { return buffer_.span().subspan(offset_, size_); }

 private:
  AlignedBuffer buffer_;
  size_t offset_;
  size_t size_;
};

}  // namespace talweg::core
