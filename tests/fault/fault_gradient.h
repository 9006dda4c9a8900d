// SPDX-License-Identifier: Apache-2.0
//
// What a worker of the fault tests contributes: whole numbers that any test can work out again from
// a version's record. They are so small that float32 holds their sums exactly. For fault tests
// only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace talweg::testing {

constexpr size_t kFaultPeriod = 11;  // The elements repeat after so many.

inline float FaultGradientElement(absl::string_view worker, uint64_t incarnation, uint64_t sequence,
                                  size_t index) {
  uint64_t mixed = incarnation * 7 + sequence * 13 + index % kFaultPeriod;
  for (const char c : worker) mixed = mixed * 31 + static_cast<unsigned char>(c);
  return static_cast<float>(mixed % 17) - 8;
}

inline std::vector<float> FaultGradient(absl::string_view worker, uint64_t incarnation,
                                        uint64_t sequence, size_t num_elements) {
  std::vector<float> gradient(num_elements);
  for (size_t index = 0; index < num_elements; ++index) {
    gradient[index] = index < kFaultPeriod
                          ? FaultGradientElement(worker, incarnation, sequence, index)
                          : gradient[index - kFaultPeriod];
  }
  return gradient;
}

}  // namespace talweg::testing
