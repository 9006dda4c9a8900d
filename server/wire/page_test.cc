// SPDX-License-Identifier: Apache-2.0
#include "server/wire/page.h"

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(PageTest, SizeHasADefaultAndABound) {
  EXPECT_TRUE(CheckPageSize(0).ok());
  EXPECT_EQ(PageSize(0), 50u);
  EXPECT_TRUE(CheckPageSize(1000).ok());
  EXPECT_EQ(PageSize(1000), 1000u);
  const absl::Status status = CheckPageSize(1001);
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "page_size");
}

TEST(PageTest, OnlyWhatMayBeASessionIdIsAToken) {
  EXPECT_TRUE(CheckPageToken("").ok());
  EXPECT_TRUE(CheckPageToken("mlp-7").ok());
  const absl::Status status = CheckPageToken("?");
  EXPECT_EQ(core::ReasonName(status), "PAGE_TOKEN_INVALID");
  EXPECT_EQ(core::FieldName(status), "page_token");
}

}  // namespace
}  // namespace talweg::server
