// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace talweg {
namespace {

constexpr uint32_t kSign = 0x80000000;

float Decode(v1::Dtype dtype, uint32_t half) {
  const uint16_t bits = static_cast<uint16_t>(half);
  char bytes[2];
  std::memcpy(bytes, &bits, 2);
  float value = 0;
  DecodeFloats(dtype, bytes, absl::MakeSpan(&value, 1));
  return value;
}

uint32_t Encode(v1::Dtype dtype, float value) {
  char bytes[2];
  EncodeFloats(dtype, absl::MakeConstSpan(&value, 1), bytes);
  uint16_t bits = 0;
  std::memcpy(&bits, bytes, 2);
  return bits;
}

// What the bits of a half stand for, by their definition.
double ByDefinition(v1::Dtype dtype, uint32_t half) {
  const int fraction_bits = dtype == v1::DTYPE_FLOAT16 ? 10 : 7;
  const int max_exponent = dtype == v1::DTYPE_FLOAT16 ? 31 : 255;
  const int bias = max_exponent / 2;
  const int exponent = static_cast<int>(half >> fraction_bits) & max_exponent;
  const double fraction = half & ((1u << fraction_bits) - 1);
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  if (exponent == max_exponent) return fraction == 0 ? sign * INFINITY : NAN;
  const double significand =
      fraction * std::ldexp(1.0, -fraction_bits) + (exponent == 0 ? 0.0 : 1.0);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias);
}

class HalfTest : public ::testing::TestWithParam<v1::Dtype> {};

TEST_P(HalfTest, EveryHalfIsWhatItsBitsSayAndComesBack) {
  for (uint32_t half = 0; half < 65536; ++half) {
    const double expected = ByDefinition(GetParam(), half);
    const float value = Decode(GetParam(), half);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << half;
      EXPECT_TRUE(std::isnan(Decode(GetParam(), Encode(GetParam(), value)))) << half;
      continue;
    }
    ASSERT_EQ(value, expected) << half;
    ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << half;
    ASSERT_EQ(Encode(GetParam(), value), half);
  }
}

// Between each half and the next: the floats beside both ends and around the middle, where the
// even one of the two takes the tie.
TEST_P(HalfTest, EveryGapRoundsToItsNearestEnd) {
  const uint32_t infinity = GetParam() == v1::DTYPE_FLOAT16 ? 0x7c00 : 0x7f80;
  for (uint32_t half = 0; half < infinity; ++half) {
    const double low = ByDefinition(GetParam(), half);
    // What an infinity would stand for, were there one more exponent.
    const double high = half + 1 < infinity
                            ? ByDefinition(GetParam(), half + 1)
                            : std::ldexp(1.0, GetParam() == v1::DTYPE_FLOAT16 ? 16 : 128);
    const float middle = static_cast<float>((low + high) / 2);
    ASSERT_EQ(middle, (low + high) / 2);
    const uint32_t even = half % 2 == 0 ? half : half + 1;
    const float below = std::nextafter(middle, 0.0f);
    const float above = std::nextafter(middle, INFINITY);
    ASSERT_EQ(Encode(GetParam(), middle), even) << half;
    ASSERT_EQ(Encode(GetParam(), -middle), even | 0x8000) << half;
    ASSERT_EQ(Encode(GetParam(), below), half);
    ASSERT_EQ(Encode(GetParam(), above), half + 1);
    ASSERT_EQ(Encode(GetParam(), std::nextafter(static_cast<float>(low), INFINITY)), half);
    if (half + 1 < infinity) {
      ASSERT_EQ(Encode(GetParam(), std::nextafter(static_cast<float>(high), 0.0f)), half + 1);
    }
  }
  EXPECT_EQ(Encode(GetParam(), INFINITY), infinity);
  EXPECT_EQ(Encode(GetParam(), -INFINITY), infinity | 0x8000);
}

TEST_P(HalfTest, NoNanBecomesAnInfinity) {
  for (const uint32_t payload : {1u, 0x7fffu, 0x8000u, 0x1fffu, 0x2000u, 0x3fffffu, 0x7fffffu}) {
    for (const uint32_t sign : {0u, kSign}) {
      const uint32_t half = Encode(GetParam(), std::bit_cast<float>(0x7f800000 | payload | sign));
      EXPECT_TRUE(std::isnan(Decode(GetParam(), half))) << payload;
      EXPECT_EQ(half >> 15, sign >> 31);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Halves, HalfTest, ::testing::Values(v1::DTYPE_BFLOAT16, v1::DTYPE_FLOAT16),
                         [](const auto& name) { return v1::Dtype_Name(name.param).substr(6); });

TEST(DtypeTest, Float32IsCopiedAndNothingMayBeEmpty) {
  const std::vector<float> values = {1.5f, -0.0f, std::numeric_limits<float>::denorm_min()};
  for (const v1::Dtype dtype : {v1::DTYPE_UNSPECIFIED, v1::DTYPE_FLOAT32}) {
    ASSERT_EQ(DtypeBytes(dtype), 4u);
    char bytes[12];
    EncodeFloats(dtype, values, bytes);
    EXPECT_EQ(std::memcmp(bytes, values.data(), sizeof(bytes)), 0);
    std::vector<float> back(3);
    DecodeFloats(dtype, bytes, absl::MakeSpan(back));
    EXPECT_EQ(std::memcmp(back.data(), values.data(), sizeof(bytes)), 0);
    EncodeFloats(dtype, {}, nullptr);
    DecodeFloats(dtype, nullptr, {});
  }
}

}  // namespace
}  // namespace talweg
