// SPDX-License-Identifier: Apache-2.0
//
// Every half both ways, against definitions written in another manner: ldexp for float16, and a
// search for the nearest by comparing distances in double.
#include "core/kernels/dtype.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint32_t kHalves = 1 << 16;

float Read(Dtype dtype, uint16_t half) {
  char bytes[3];
  std::memcpy(bytes + 1, &half, 2);  // of no alignment
  float value = 0;
  ToFloat32(dtype, bytes + 1, {&value, 1});
  return value;
}

uint16_t Write(Dtype dtype, float value) {
  char bytes[3];
  FromFloat32(dtype, {&value, 1}, bytes + 1);
  uint16_t half = 0;
  std::memcpy(&half, bytes + 1, 2);
  return half;
}

// What IEEE 754 says a half is, for numbers.
double Defined(Dtype dtype, uint16_t half) {
  const int fraction_bits = dtype == Dtype::kBfloat16 ? 7 : 10;
  const int bias = dtype == Dtype::kBfloat16 ? 127 : 15;
  const int exponent = (half & 0x7fff) >> fraction_bits;
  const int fraction = half & ((1 << fraction_bits) - 1);
  const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

uint16_t InfinityOf(Dtype dtype) { return dtype == Dtype::kBfloat16 ? 0x7f80 : 0x7c00; }

bool IsNan(Dtype dtype, uint32_t half) { return (half & 0x7fff) > InfinityOf(dtype); }

class DtypeTest : public testing::TestWithParam<Dtype> {};

TEST_P(DtypeTest, EveryHalfIsReadAsDefined) {
  for (uint32_t half = 0; half < kHalves; ++half) {
    const float value = Read(GetParam(), static_cast<uint16_t>(half));
    if (IsNan(GetParam(), half)) {
      ASSERT_TRUE(std::isnan(value)) << half;
    } else if ((half & 0x7fff) == InfinityOf(GetParam())) {
      ASSERT_TRUE(std::isinf(value)) << half;
    } else {
      ASSERT_EQ(value, Defined(GetParam(), static_cast<uint16_t>(half))) << half;
    }
    ASSERT_EQ(std::signbit(value), half >= 0x8000) << half;
  }
}

TEST_P(DtypeTest, EveryHalfComesBackTheSame) {
  for (uint32_t half = 0; half < kHalves; ++half) {
    const uint16_t back = Write(GetParam(), Read(GetParam(), static_cast<uint16_t>(half)));
    if (!IsNan(GetParam(), half)) {
      ASSERT_EQ(back, half);
      continue;
    }
    // A signalling NaN may come back quiet, with its payload.
    const uint32_t quiet = GetParam() == Dtype::kBfloat16 ? 0x40 : 0x200;
    ASSERT_EQ(back | quiet, half | quiet);
  }
}

// Between each two neighbours: what is just below the middle goes down, just above goes up, and the
// middle goes to the even one.
TEST_P(DtypeTest, EveryMiddleRoundsToEvenAndItsNeighboursToTheNearest) {
  const uint16_t infinity = InfinityOf(GetParam());
  for (uint16_t low = 0; low < infinity; ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    // Beyond the largest stands what would be the next number, and there the infinity begins.
    const double exact = (Defined(GetParam(), low) + Defined(GetParam(), high)) / 2;
    const auto middle = static_cast<float>(exact);
    if (std::isinf(middle)) continue;
    // Half of bfloat16's smallest step is no float32 where that has no denormal for it.
    ASSERT_EQ(middle, exact) << low;
    const uint16_t even = low % 2 == 0 ? low : high;
    for (const bool negative : {false, true}) {
      const float sign = negative ? -1.0f : 1.0f;
      const uint16_t bit = negative ? 0x8000 : 0;
      ASSERT_EQ(Write(GetParam(), sign * middle), even | bit) << low;
      ASSERT_EQ(Write(GetParam(), sign * std::nextafter(middle, 0.0f)), low | bit) << low;
      ASSERT_EQ(Write(GetParam(), sign * std::nextafter(middle, HUGE_VALF)), high | bit) << low;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Halves, DtypeTest, testing::Values(Dtype::kBfloat16, Dtype::kFloat16),
                         [](const auto& row) {
                           return row.param == Dtype::kBfloat16 ? "Bfloat16" : "Float16";
                         });

// As numpy.float16 (2.1) and torch.bfloat16 (2.5) write them.
TEST(DtypeVectorsTest, WritesWhatOthersWrite) {
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
    EXPECT_EQ(Write(Dtype::kFloat16, row.value), row.float16) << row.value;
    EXPECT_EQ(Write(Dtype::kBfloat16, row.value), row.bfloat16) << row.value;
  }
}

TEST(DtypeVectorsTest, NansStayNans) {
  for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0x7fc00000u, 0x7f80ffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const float nan = std::bit_cast<float>(bits | sign);
      for (const Dtype dtype : {Dtype::kBfloat16, Dtype::kFloat16}) {
        EXPECT_TRUE(IsNan(dtype, Write(dtype, nan))) << bits;
        EXPECT_EQ(Write(dtype, nan) >> 15, sign >> 31);
      }
    }
  }
}

TEST(DtypeVectorsTest, Float32IsCopied) {
  const std::vector<float> values = {1.5f, -0.0f, std::numeric_limits<float>::denorm_min()};
  std::string bytes(1 + 12, 'x');
  FromFloat32(Dtype::kFloat32, values, bytes.data() + 1);
  EXPECT_EQ(std::memcmp(bytes.data() + 1, values.data(), 12), 0);
  std::vector<float> back(3);
  ToFloat32(Dtype::kFloat32, bytes.data() + 1, absl::MakeSpan(back));
  EXPECT_EQ(std::memcmp(back.data(), values.data(), 12), 0);
  ToFloat32(Dtype::kFloat32, nullptr, {});
  FromFloat32(Dtype::kFloat32, {}, nullptr);
}

}  // namespace
}  // namespace talweg::core
