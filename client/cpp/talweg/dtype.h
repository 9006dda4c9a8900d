// SPDX-License-Identifier: Apache-2.0
//
// Vectors of numbers as they are laid out on the wire, and their way from and to float32.
// Everything is little-endian and may have any alignment. DTYPE_UNSPECIFIED is FLOAT32. What the
// other numbers are, and how they are rounded, is told in core/base/half_float.h.
#pragma once

#include <cstddef>

#include "absl/types/span.h"
#include "talweg/v1/section.pb.h"

namespace talweg {

// Bytes of one number.
constexpr size_t DtypeBytes(v1::Dtype dtype) {
  return dtype == v1::DTYPE_BFLOAT16 || dtype == v1::DTYPE_FLOAT16 ? 2 : 4;
}

// Writes values.size() numbers to `bytes`.
void EncodeFloats(v1::Dtype dtype, absl::Span<const float> values, char* bytes);

// Reads values.size() numbers from `bytes`.
void DecodeFloats(v1::Dtype dtype, const char* bytes, absl::Span<float> values);

}  // namespace talweg
