// SPDX-License-Identifier: Apache-2.0
#include "core/base/dtype.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/base/half_float.h"

namespace talweg::core {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie");

void ToFloat32(Dtype dtype, const char* bytes, absl::Span<float> values) {
  if (dtype == Dtype::kFloat32) {
    if (!values.empty()) std::memcpy(values.data(), bytes, values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bytes + 2 * i, sizeof(half));
    values[i] = dtype == Dtype::kBfloat16 ? Float32FromBfloat16(half) : Float32FromFloat16(half);
  }
}

Overflow FromFloat32(Dtype dtype, absl::Span<const float> values, char* bytes) {
  if (dtype == Dtype::kFloat32) {
    if (!values.empty()) std::memcpy(bytes, values.data(), values.size() * sizeof(float));
    return {};
  }
  const bool is_bfloat16 = dtype == Dtype::kBfloat16;
  const uint16_t infinity = is_bfloat16 ? 0x7f80 : 0x7c00;
  const auto overflows = [infinity](float value, uint16_t half) {
    return (half & 0x7fff) == infinity && std::isfinite(value);
  };
  Overflow overflow;
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half =
        is_bfloat16 ? Bfloat16FromFloat32(values[i]) : Float16FromFloat32(values[i]);
    std::memcpy(bytes + 2 * i, &half, sizeof(half));
    overflow.count += overflows(values[i], half) ? 1 : 0;
  }
  if (overflow.count == 0) return overflow;
  uint16_t half = 0;
  do {
    std::memcpy(&half, bytes + 2 * overflow.first, sizeof(half));
  } while (!overflows(values[overflow.first], half) && ++overflow.first < values.size());
  return overflow;
}

}  // namespace talweg::core
