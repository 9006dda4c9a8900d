// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "core/base/half_float.h"

namespace talweg {
namespace {

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

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

TEST(DtypeTest, EveryHalfIsReadAndWrittenAsHalfFloatSays) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float bfloat16 = core::Float32FromBfloat16(half);
    const float float16 = core::Float32FromFloat16(half);
    ASSERT_EQ(Bits(Decode(v1::DTYPE_BFLOAT16, half)), Bits(bfloat16)) << bits;
    ASSERT_EQ(Bits(Decode(v1::DTYPE_FLOAT16, half)), Bits(float16)) << bits;
    for (const float value : {bfloat16, float16}) {
      ASSERT_EQ(Encode(v1::DTYPE_BFLOAT16, value), core::Bfloat16FromFloat32(value)) << bits;
      ASSERT_EQ(Encode(v1::DTYPE_FLOAT16, value), core::Float16FromFloat32(value)) << bits;
    }
  }
}

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
