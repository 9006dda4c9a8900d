// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/dtype.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace talweg {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie");

constexpr uint32_t kSign = 0x80000000;
constexpr uint32_t kInfinity = 0x7f800000;

uint16_t ToBfloat16(uint32_t bits) {
  // A carry out of the fraction is right for numbers, and would make an infinity of a NaN.
  if ((bits & ~kSign) > kInfinity) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t ToFloat16(uint32_t bits) {
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & ~kSign;
  uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7e00 | (magnitude >> 13 & 0x3ff);
  } else if (magnitude >= 0x477ff000) {  // 65520: nearer to 65536 than to 65504, or a tie
    half = 0x7c00;
  } else if (magnitude >= 0x38800000) {  // 2^-14, the smallest normal: rebias, drop 13 bits
    half = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
  } else {
    // Beside 0.5 the float's own last place is 2^-24, the unit of a half's denormals.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  }
  return static_cast<uint16_t>(sign | half);
}

uint32_t FromFloat16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return sign | kInfinity | magnitude << 13;
  if (magnitude >= 0x400) return sign | ((magnitude << 13) + (112u << 23));
  return sign | std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
}

}  // namespace

void EncodeFloats(v1::Dtype dtype, absl::Span<const float> values, char* bytes) {
  if (values.empty()) return;
  if (DtypeBytes(dtype) == sizeof(float)) {
    std::memcpy(bytes, values.data(), values.size() * sizeof(float));
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const uint16_t half = dtype == v1::DTYPE_BFLOAT16 ? ToBfloat16(bits) : ToFloat16(bits);
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
    values[i] = std::bit_cast<float>(dtype == v1::DTYPE_BFLOAT16 ? static_cast<uint32_t>(half) << 16
                                                                 : FromFloat16(half));
  }
}

}  // namespace talweg
