// SPDX-License-Identifier: Apache-2.0
//
// How numbers are laid out on the wire, and their way from and to float32. Little-endian, of any
// alignment.
//
//   FLOAT32   IEEE 754 binary32
//   BFLOAT16  the upper half of a float32; rounded to nearest, ties to even
//   FLOAT16   IEEE 754 binary16; rounded to nearest, ties to even; from 65520 on an infinity
//
// DTYPE_UNSPECIFIED is FLOAT32. To float32 is exact; a NaN stays one, with the upper bits of its
// payload. In the default rounding mode the same bits on every machine.
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
