// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace talweg {
namespace {

TEST(Crc32cTest, IsThatOfTheStandard) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  // RFC 3720, appendix B.4.
  std::string ascending(32, '\0');
  for (int i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
}

TEST(Crc32cTest, TableAndInstructionAgreeFromAnyByteAndInAnyPieces) {
  std::string bytes(1000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i % 251);
  const absl::string_view all = bytes;
  for (size_t begin = 0; begin < 20; ++begin) {
    for (size_t size : {0, 1, 7, 8, 9, 63, 900}) {
      const absl::string_view piece = all.substr(begin, size);
      EXPECT_EQ(Crc32c(piece), Crc32cByTable(piece));
      EXPECT_EQ(Crc32c(piece.substr(size / 3), Crc32c(piece.substr(0, size / 3))), Crc32c(piece));
    }
  }
}

}  // namespace
}  // namespace talweg
