// SPDX-License-Identifier: Apache-2.0
//
// Vectors of numbers as they are laid out outside, and their way to float32 and back. Everything is
// little-endian and may have any alignment. What the numbers are, and how they are rounded, is told
// in core/base/half_float.h. Anyone may call these functions, clients included.
#pragma once

#include <cstddef>

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

// Writes values.size() numbers.
void FromFloat32(Dtype dtype, absl::Span<const float> values, char* bytes);

}  // namespace talweg::core
