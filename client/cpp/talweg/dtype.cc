// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/dtype.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/base/half_float.h"

namespace talweg {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie");

void EncodeFloats(v1::Dtype dtype, absl::Span<const float> values, char* bytes) {
  if (values.empty()) return;
  if (DtypeBytes(dtype) == sizeof(float)) {
    std::memcpy(bytes, values.data(), values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == v1::DTYPE_BFLOAT16 ? core::Bfloat16FromFloat32(values[i])
                                                      : core::Float16FromFloat32(values[i]);
    std::memcpy(bytes + 2 * i, &half, sizeof(half));
  }
}

void DecodeFloats(v1::Dtype dtype, const char* bytes, absl::Span<float> values) {
  if (values.empty()) return;
  if (DtypeBytes(dtype) == sizeof(float)) {
    std::memcpy(values.data(), bytes, values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bytes + 2 * i, sizeof(half));
    values[i] = dtype == v1::DTYPE_BFLOAT16 ? core::Float32FromBfloat16(half)
                                            : core::Float32FromFloat16(half);
  }
}

}  // namespace talweg
