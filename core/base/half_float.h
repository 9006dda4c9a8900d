// SPDX-License-Identifier: Apache-2.0
//
// The two halves, bit by bit: how a 16-bit number becomes a float32 and back.
//
//   bfloat16  the upper half of a float32; rounded to nearest, ties to even
//   float16   IEEE 754 binary16; rounded to nearest, ties to even; from 65520 on an infinity
//
// To float32 is exact. A NaN stays a NaN, with its sign and the upper bits of its payload. All
// operations are on integers, except one sum that rounds float16's smallest numbers; so the bits
// are the same on every machine (in the default rounding mode). Anyone may call these functions,
// clients included. They are inline and have no branch, so that a loop over them can be vectorized.
#pragma once

#include <bit>
#include <cstdint>

namespace talweg::core {

namespace half_float_internal {
inline constexpr uint32_t kSign = 0x80000000;
inline constexpr uint32_t kInfinity = 0x7f800000;
inline constexpr uint32_t kQuiet = 0x00400000;
}  // namespace half_float_internal

inline uint16_t Bfloat16FromFloat32(float value) {
  using namespace half_float_internal;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  // Rounding could carry a NaN over into an infinity.
  const bool is_nan = (bits & ~kSign) > kInfinity;
  return static_cast<uint16_t>(is_nan ? (bits | kQuiet) >> 16 : rounded);
}

inline float Float32FromBfloat16(uint16_t half) {
  return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
}

inline uint16_t Float16FromFloat32(float value) {
  using namespace half_float_internal;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & ~kSign;
  // A normal number: its exponent is rebiased by 112, and ten bits of its fraction are left.
  const uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
  // Below 2^-14: beside 0.5 the last place of a float32 is 2^-24, the unit of float16's denormals,
  // so the sum's own rounding drops what such a denormal cannot hold.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  const uint32_t denormal = std::bit_cast<uint32_t>(shifted) - 0x3f000000;
  uint32_t half = magnitude < 0x38800000 ? denormal : normal;
  if (magnitude >= 0x477ff000) half = 0x7c00;  // 65520 and more: nearer to 65536 than to 65504
  if (magnitude > kInfinity) half = 0x7e00 | (magnitude >> 13 & 0x3ff);
  return static_cast<uint16_t>(sign | half);
}

inline float Float32FromFloat16(uint16_t half) {
  using namespace half_float_internal;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  // A denormal is magnitude * 2^-24, which is exact in float32.
  const uint32_t denormal = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  uint32_t bits = magnitude < 0x400 ? denormal : normal;
  if (magnitude >= 0x7c00) bits = (magnitude << 13) | kInfinity;
  return std::bit_cast<float>(sign | bits);
}

}  // namespace talweg::core
