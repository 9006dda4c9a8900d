// SPDX-License-Identifier: Apache-2.0
//
// Every half both ways, of no alignment, against core/base/half_float.h (whose own test holds it
// against the definitions of the formats).
#include "core/base/dtype.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/base/half_float.h"
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

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

uint16_t Write(Dtype dtype, float value) {
  char bytes[3];
  FromFloat32(dtype, {&value, 1}, bytes + 1);
  uint16_t half = 0;
  std::memcpy(&half, bytes + 1, 2);
  return half;
}

TEST(DtypeTest, EveryHalfIsReadAndWrittenAsHalfFloatSays) {
  for (uint32_t bits = 0; bits < kHalves; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float bfloat16 = Float32FromBfloat16(half);
    const float float16 = Float32FromFloat16(half);
    ASSERT_EQ(Bits(Read(Dtype::kBfloat16, half)), Bits(bfloat16)) << bits;
    ASSERT_EQ(Bits(Read(Dtype::kFloat16, half)), Bits(float16)) << bits;
    for (const float value : {bfloat16, float16}) {
      ASSERT_EQ(Write(Dtype::kBfloat16, value), Bfloat16FromFloat32(value)) << bits;
      ASSERT_EQ(Write(Dtype::kFloat16, value), Float16FromFloat32(value)) << bits;
    }
  }
}

TEST(DtypeTest, AVectorIsReadAndWrittenAsItsNumbersAre) {
  for (const Dtype dtype : {Dtype::kBfloat16, Dtype::kFloat16}) {
    std::vector<float> values(kHalves);
    std::string bytes(1 + 2 * values.size(), 'x');
    for (uint32_t half = 0; half < kHalves; ++half) {
      const auto bits = static_cast<uint16_t>(half);
      std::memcpy(bytes.data() + 1 + 2 * half, &bits, 2);
    }
    ToFloat32(dtype, bytes.data() + 1, absl::MakeSpan(values));
    std::string back(bytes.size(), 'x');
    FromFloat32(dtype, values, back.data() + 1);
    for (uint32_t half = 0; half < kHalves; ++half) {
      const float alone = Read(dtype, static_cast<uint16_t>(half));
      ASSERT_EQ(Bits(values[half]), Bits(alone)) << half;
      uint16_t written = 0;
      std::memcpy(&written, back.data() + 1 + 2 * half, 2);
      ASSERT_EQ(written, Write(dtype, alone)) << half;
    }
  }
}

TEST(DtypeTest, Float32IsCopied) {
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

TEST(DtypeTest, OverflowIsWhatIsFiniteOnlyInFloat32) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kLargest = std::numeric_limits<float>::max();
  // 65520 is the first number that float16 rounds to infinity.
  const std::vector<float> values = {1, kInfinity, 65519, 65520, -70000, std::nanf(""), kLargest};
  std::string bytes(4 * values.size(), 'x');
  Overflow overflow = FromFloat32(Dtype::kFloat16, values, bytes.data());
  EXPECT_EQ(overflow.count, 3u);
  EXPECT_EQ(overflow.first, 3u);
  overflow = FromFloat32(Dtype::kBfloat16, values, bytes.data());
  EXPECT_EQ(overflow.count, 1u);
  EXPECT_EQ(overflow.first, 6u);
  EXPECT_EQ(FromFloat32(Dtype::kFloat32, values, bytes.data()).count, 0u);

  Overflow sum;  // of runs that come in any order
  sum.Add({2, 1}, 100);
  sum.Add({0, 0}, 0);
  sum.Add({1, 5}, 20);
  EXPECT_EQ(sum.count, 3u);
  EXPECT_EQ(sum.first, 25u);
}

}  // namespace
}  // namespace talweg::core
