// SPDX-License-Identifier: Apache-2.0
#include "client/cli/describe.h"

#include <gtest/gtest.h>

namespace talweg {
namespace {

TEST(DescribeTest, VerdictsAreNamedAndUnknownOnesNumbered) {
  EXPECT_EQ(VerdictText(v1::VERDICT_APPLIED), "APPLIED");
  EXPECT_EQ(VerdictText(static_cast<v1::Verdict>(9)), "verdict 9");
}

TEST(DescribeTest, AVerdictThatRefusesIsAnErrorThatNamesIt) {
  EXPECT_TRUE(VerdictError(v1::VERDICT_APPLIED).ok());
  EXPECT_TRUE(VerdictError(v1::VERDICT_PENDING).ok());  // waits in an open round
  EXPECT_EQ(VerdictError(v1::VERDICT_ROUND_CLOSED).message(),
            "the contribution was refused: ROUND_CLOSED");
  EXPECT_FALSE(VerdictError(v1::VERDICT_TOO_STALE).ok());
  EXPECT_FALSE(VerdictError(v1::VERDICT_REJECTED_NON_FINITE).ok());
  EXPECT_FALSE(VerdictError(v1::VERDICT_UNSPECIFIED).ok());
  EXPECT_FALSE(VerdictError(static_cast<v1::Verdict>(9)).ok());
}

}  // namespace
}  // namespace talweg
