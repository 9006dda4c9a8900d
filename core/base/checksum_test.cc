// SPDX-License-Identifier: Apache-2.0
#include "core/base/checksum.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

std::string Ascending(size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

TEST(Crc32cTest, GivesTheKnownAnswersOfRfc3720) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(Ascending(32)), 0x46dd794eu);
  const std::string ascending = Ascending(32);
  EXPECT_EQ(Crc32c(std::string(ascending.rbegin(), ascending.rend())), 0x113fdb5cu);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32cTest, SplitAnywhereEqualsTheWhole) {
  const std::string bytes = Ascending(777);
  const absl::string_view view = bytes;
  const uint32_t whole = Crc32c(view);
  for (size_t cut = 0; cut <= view.size(); ++cut) {
    ASSERT_EQ(Crc32c(view.substr(cut), Crc32c(view.substr(0, cut))), whole) << cut;
  }
}

// The definition, bit by bit: the polynomial with its bits from the lowest power up.
uint32_t ByDefinition(absl::string_view bytes) {
  uint32_t state = ~uint32_t{0};
  for (const char byte : bytes) {
    state ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) state = state >> 1 ^ (state & 1) * 0x82f63b78;
  }
  return ~state;
}

TEST(Crc32cTest, AgreesWithItsDefinitionFromAnyByteAndInAnyPieces) {
  std::string bytes(1000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i % 251);
  const absl::string_view all = bytes;
  for (size_t begin = 0; begin < 20; ++begin) {
    for (size_t size : {0, 1, 7, 8, 9, 63, 900}) {
      const absl::string_view piece = all.substr(begin, size);
      EXPECT_EQ(Crc32c(piece), ByDefinition(piece));
      EXPECT_EQ(Crc32c(piece.substr(size / 3), Crc32c(piece.substr(0, size / 3))), Crc32c(piece));
    }
  }
}

TEST(Crc32cTest, EveryFlippedBitIsSeen) {
  std::string bytes = Ascending(100);
  const uint32_t whole = Crc32c(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
    ASSERT_NE(Crc32c(bytes), whole) << bit;
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
}

TEST(Crc32cTest, OfFloatsIsThatOfTheirBytes) {
  const std::vector<float> values = {1.0f, -2.0f};
  EXPECT_EQ(Crc32c(values), Crc32c(absl::string_view("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8)));
  EXPECT_EQ(Crc32c(absl::MakeConstSpan(values).subspan(1),
                   Crc32c(absl::MakeConstSpan(values).subspan(0, 1))),
            Crc32c(values));
}

// Answers of the reference implementation.
TEST(Fnv1aTest, GivesTheKnownAnswers) {
  EXPECT_EQ(Fnv1a(""), kEmptyFnv1a);
  EXPECT_EQ(Fnv1a("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(Fnv1a("foobar"), 0x85944171f73967e8u);
  EXPECT_EQ(Fnv1a("bar", Fnv1a("foo")), Fnv1a("foobar"));
}

}  // namespace
}  // namespace talweg::core
