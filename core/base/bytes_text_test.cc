// SPDX-License-Identifier: Apache-2.0
#include "core/base/bytes_text.h"

#include <gtest/gtest.h>

namespace talweg::core {
namespace {

TEST(BytesTextTest, ASizeHasTheUnitThatSuitsIt) {
  EXPECT_EQ(BytesText(0), "0 bytes");
  EXPECT_EQ(BytesText(1023), "1023 bytes");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(BytesText(uint64_t{179} << 20), "179.0 MiB");
  EXPECT_EQ(BytesText(uint64_t{5} << 40), "5.0 TiB");
  EXPECT_EQ(BytesText(~uint64_t{0}), "16777216.0 TiB");
}

}  // namespace
}  // namespace talweg::core
