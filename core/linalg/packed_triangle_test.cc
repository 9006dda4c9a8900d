// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/packed_triangle.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;

TEST(PackedTriangleTest, RowsFollowEachOtherFromTheirDiagonals) {
  EXPECT_EQ(PackedSize(1), 1u);
  EXPECT_EQ(PackedSize(3), 6u);
  EXPECT_EQ(PackedSize(uint64_t{1} << 20), (uint64_t{1} << 39) + (uint64_t{1} << 19));
  for (const uint64_t n : {1, 2, 7}) {
    uint64_t begin = 0;
    for (uint64_t row = 0; row < n; ++row) {
      EXPECT_EQ(PackedRow(n, row), begin);
      begin += n - row;
    }
    EXPECT_EQ(begin, PackedSize(n));
  }
}

TEST(PackedTriangleTest, UnpackFillsTheUpperTriangleAlone) {
  const std::vector<float> packed = {1, 2, 3, 4, 5, 6};
  std::vector<double> a(9, -1);
  UnpackUpper<float, double>(3, packed, absl::MakeSpan(a));
  EXPECT_THAT(a, ElementsAre(1, 2, 3, -1, 4, 5, -1, -1, 6));
  EXPECT_EQ(PackedTrace(3, packed), 11);
}

}  // namespace
}  // namespace talweg::core
