// SPDX-License-Identifier: Apache-2.0
//
// Vectors of numbers as they are laid out outside, and their way to float32 and back. Everything is
// little-endian and may have any alignment. What the numbers are, and how they are rounded, is told
// in core/base/half_float.h. Anyone may call these functions, clients included.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::core {

enum class Dtype { kFloat32, kBfloat16, kFloat16 };

constexpr size_t DtypeBytes(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : 2; }

// A vector as it came from outside. Borrowed.
struct EncodedVector {
  Dtype dtype = Dtype::kFloat32;
  absl::string_view bytes;
};

// Reads values.size() numbers.
void ToFloat32(Dtype dtype, const char* bytes, absl::Span<float> values);

// Numbers that are finite in float32 and infinite in a narrower dtype.
struct Overflow {
  uint64_t count = 0;
  uint64_t first = 0;  // the place of the first of them, if there is one

  // Adds those of a run whose first number stands at `begin`. Runs may come in any order.
  void Add(const Overflow& run, uint64_t begin) {
    if (run.count == 0) return;
    first = count == 0 ? begin + run.first : std::min(first, begin + run.first);
    count += run.count;
  }
};

// Writes values.size() numbers.
Overflow FromFloat32(Dtype dtype, absl::Span<const float> values, char* bytes);

}  // namespace talweg::core
