// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/dtype.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace talweg::core {
namespace {

constexpr uint32_t kSign = 0x80000000;
constexpr uint32_t kInfinity = 0x7f800000;
constexpr uint32_t kQuiet = 0x00400000;

uint16_t ToBfloat16(uint32_t bits) {
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  // Rounding could carry a NaN over into an infinity.
  const bool is_nan = (bits & ~kSign) > kInfinity;
  return static_cast<uint16_t>(is_nan ? (bits | kQuiet) >> 16 : rounded);
}

uint16_t ToFloat16(uint32_t bits) {
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & ~kSign;
  // Normal: exponent rebiased by 112, ten bits of the fraction left.
  const uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
  // Below 2^-14: adding 0.5 lets the float's own rounding drop what a multiple of 2^-24 cannot
  // hold.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  const uint32_t denormal = std::bit_cast<uint32_t>(shifted) - 0x3f000000;
  uint32_t half = magnitude < 0x38800000 ? denormal : normal;
  if (magnitude >= 0x477ff000) half = 0x7c00;  // rounds to 65536 or more
  if (magnitude > kInfinity) half = 0x7e00 | (magnitude >> 13 & 0x3ff);
  return static_cast<uint16_t>(sign | half);
}

uint32_t FromFloat16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  // A denormal is magnitude * 2^-24, exact in float32.
  const uint32_t denormal = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  uint32_t bits = magnitude < 0x400 ? denormal : normal;
  if (magnitude >= 0x7c00) bits = (magnitude << 13) | kInfinity;
  return sign | bits;
}

}  // namespace

void ToFloat32(Dtype dtype, const char* bytes, absl::Span<float> values) {
  if (dtype == Dtype::kFloat32) {
    if (!values.empty()) std::memcpy(values.data(), bytes, values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bytes + 2 * i, sizeof(half));
    const uint32_t bits =
        dtype == Dtype::kBfloat16 ? static_cast<uint32_t>(half) << 16 : FromFloat16(half);
    values[i] = std::bit_cast<float>(bits);
  }
}

void FromFloat32(Dtype dtype, absl::Span<const float> values, char* bytes) {
  if (dtype == Dtype::kFloat32) {
    if (!values.empty()) std::memcpy(bytes, values.data(), values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const uint16_t half = dtype == Dtype::kBfloat16 ? ToBfloat16(bits) : ToFloat16(bits);
    std::memcpy(bytes + 2 * i, &half, sizeof(half));
  }
}

}  // namespace talweg::core
