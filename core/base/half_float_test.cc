// SPDX-License-Identifier: Apache-2.0
//
// Every half both ways, against definitions written in another manner: ldexp for what a half stands
// for, and the middle between two neighbours for how a float32 is rounded.
#include "core/base/half_float.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint32_t kHalves = 1 << 16;

struct Format {
  const char* name;
  uint16_t (*write)(float);
  float (*read)(uint16_t);
  int fraction_bits, bias;
  uint16_t infinity;
  uint16_t quiet;  // the bit that makes a NaN a quiet one
};

constexpr Format kFormats[] = {
    {"Bfloat16", Bfloat16FromFloat32, Float32FromBfloat16, 7, 127, 0x7f80, 0x40},
    {"Float16", Float16FromFloat32, Float32FromFloat16, 10, 15, 0x7c00, 0x200},
};

// What IEEE 754 says a half is, if it is a number. The infinity counts as the number that would
// follow the largest one.
double Defined(const Format& format, uint32_t half) {
  const int exponent = static_cast<int>(half & 0x7fff) >> format.fraction_bits;
  const int fraction = static_cast<int>(half) & ((1 << format.fraction_bits) - 1);
  const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
  const int unit = 1 - format.bias - format.fraction_bits;
  if (exponent == 0) return sign * std::ldexp(fraction, unit);
  return sign * std::ldexp((1 << format.fraction_bits) + fraction, unit + exponent - 1);
}

bool IsNan(const Format& format, uint32_t half) { return (half & 0x7fff) > format.infinity; }

class HalfFloatTest : public testing::TestWithParam<Format> {
 protected:
  uint16_t Write(float value) const { return GetParam().write(value); }
  float Read(uint32_t half) const { return GetParam().read(static_cast<uint16_t>(half)); }
};

TEST_P(HalfFloatTest, EveryHalfIsReadAsDefined) {
  for (uint32_t half = 0; half < kHalves; ++half) {
    const float value = Read(half);
    if (IsNan(GetParam(), half)) {
      ASSERT_TRUE(std::isnan(value)) << half;
    } else if ((half & 0x7fff) == GetParam().infinity) {
      ASSERT_TRUE(std::isinf(value)) << half;
    } else {
      ASSERT_EQ(value, Defined(GetParam(), half)) << half;
    }
    ASSERT_EQ(std::signbit(value), half >= 0x8000) << half;
  }
}

TEST_P(HalfFloatTest, EveryHalfComesBackTheSame) {
  for (uint32_t half = 0; half < kHalves; ++half) {
    const uint16_t back = Write(Read(half));
    if (!IsNan(GetParam(), half)) {
      ASSERT_EQ(back, half);
      continue;
    }
    // A signalling NaN may come back quiet, with its payload.
    ASSERT_TRUE(std::isnan(Read(back))) << half;
    ASSERT_EQ(back | GetParam().quiet, half | GetParam().quiet);
  }
}

// Between each two neighbours: what is just below the middle goes down, just above goes up, and the
// middle goes to the even one. What stands beside the ends goes to them.
TEST_P(HalfFloatTest, EveryMiddleRoundsToEvenAndItsNeighboursToTheNearest) {
  const uint16_t infinity = GetParam().infinity;
  for (uint32_t low = 0; low < infinity; ++low) {
    const uint32_t high = low + 1;
    const double exact = (Defined(GetParam(), low) + Defined(GetParam(), high)) / 2;
    const auto middle = static_cast<float>(exact);
    ASSERT_EQ(middle, exact) << low;
    const uint32_t even = low % 2 == 0 ? low : high;
    for (const bool negative : {false, true}) {
      const float sign = negative ? -1.0f : 1.0f;
      const uint32_t bit = negative ? 0x8000 : 0;
      ASSERT_EQ(Write(sign * middle), even | bit) << low;
      ASSERT_EQ(Write(sign * std::nextafter(middle, 0.0f)), low | bit) << low;
      ASSERT_EQ(Write(sign * std::nextafter(middle, HUGE_VALF)), high | bit) << low;
      const auto end = static_cast<float>(Defined(GetParam(), low));
      ASSERT_EQ(Write(sign * std::nextafter(end, HUGE_VALF)), low | bit) << low;
      if (high == infinity) continue;
      const auto next = static_cast<float>(Defined(GetParam(), high));
      ASSERT_EQ(Write(sign * std::nextafter(next, 0.0f)), high | bit) << low;
    }
  }
  EXPECT_EQ(Write(HUGE_VALF), infinity);
  EXPECT_EQ(Write(-HUGE_VALF), infinity | 0x8000);
}

TEST_P(HalfFloatTest, NansStayNans) {
  for (const uint32_t payload :
       {0x1u, 0x1fffu, 0x2000u, 0x7fffu, 0x8000u, 0xffffu, 0x3fffffu, 0x400000u, 0x7fffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const uint32_t half = Write(std::bit_cast<float>(0x7f800000 | payload | sign));
      EXPECT_TRUE(IsNan(GetParam(), half)) << payload;
      EXPECT_TRUE(std::isnan(Read(half))) << payload;
      EXPECT_EQ(half >> 15, sign >> 31);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Halves, HalfFloatTest, testing::ValuesIn(kFormats),
                         [](const auto& row) { return std::string(row.param.name); });

// As numpy.float16 (2.1) and torch.bfloat16 (2.5) write them.
TEST(HalfFloatVectorsTest, WritesWhatOthersWrite) {
  const struct {
    float value;
    uint16_t float16, bfloat16;
  } kRows[] = {
      {0.0f, 0x0000, 0x0000},          {-0.0f, 0x8000, 0x8000},       {1.0f, 0x3c00, 0x3f80},
      {-2.0f, 0xc000, 0xc000},         {0.1f, 0x2e66, 0x3dcd},        {1.0f / 3, 0x3555, 0x3eab},
      {65504.0f, 0x7bff, 0x4780},      {65519.996f, 0x7bff, 0x4780},  {65520.0f, 0x7c00, 0x4780},
      {1e30f, 0x7c00, 0x714a},         {0x1p-14f, 0x0400, 0x3880},    {0x1p-24f, 0x0001, 0x3380},
      {0x1p-25f, 0x0000, 0x3300},      {0x1.8p-25f, 0x0001, 0x3340},  {0x1.8p-24f, 0x0002, 0x33c0},
      {3.4028235e38f, 0x7c00, 0x7f80}, {1.00390625f, 0x3c04, 0x3f80}, {1.01171875f, 0x3c0c, 0x3f82},
      {-HUGE_VALF, 0xfc00, 0xff80},    {0x1p-149f, 0x0000, 0x0000},   {0x1p-133f, 0x0000, 0x0001},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Float16FromFloat32(row.value), row.float16) << row.value;
    EXPECT_EQ(Bfloat16FromFloat32(row.value), row.bfloat16) << row.value;
  }
}

}  // namespace
}  // namespace talweg::core
