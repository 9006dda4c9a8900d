// SPDX-License-Identifier: Apache-2.0
//
// How numbers are laid out outside the server, and how they become float32 and back. Everything is
// little-endian and may have any alignment.
//
//   float32   IEEE 754 binary32
//   bfloat16  the upper half of a float32; rounded to nearest, ties to even
//   float16   IEEE 754 binary16; rounded to nearest, ties to even; from 65520 on an infinity
//
// The conversion to float32 is exact, and NaNs stay NaNs with the upper bits of their payload. All
// operations are on integers, except a sum that rounds the smallest float16 numbers. So the bits
// are the same on every machine.
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
