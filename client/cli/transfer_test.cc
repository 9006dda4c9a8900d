// SPDX-License-Identifier: Apache-2.0
#include "client/cli/transfer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace talweg {
namespace {

Arguments Typed(const std::vector<std::string>& words) {
  const std::vector<Flag> flags = {{"point", "POINT", ""},    {"dtype", "DTYPE", ""},
                                   {"checksums", "", ""},     {"weight", "NUMBER", ""},
                                   {"close_round", "", ""},   {"difference", "", ""},
                                   {"abstain", "", ""},       {"no_wait", "", ""},
                                   {"min_version", "NR", ""}, {"base_version", "NR", ""}};
  return Arguments::Parse(flags, 0, words).value();
}

TEST(TransferTest, FlagsSayHowNumbersTravel) {
  const StepOptions step =
      StepOptionsOf(Typed({"--point", "lookahead", "--dtype", "bfloat16", "--checksums"})).value();
  EXPECT_EQ(step.point, v1::POINT_LOOKAHEAD);
  EXPECT_EQ(step.gradient_dtype, v1::DTYPE_BFLOAT16);
  EXPECT_EQ(step.reply_dtype, v1::DTYPE_BFLOAT16);
  EXPECT_TRUE(step.checksums);
  const PullOptions pull =
      PullOptionsOf(Typed({"--point", "average", "--dtype", "float16"})).value();
  EXPECT_EQ(pull.point, v1::POINT_AVERAGE);
  EXPECT_EQ(pull.dtype, v1::DTYPE_FLOAT16);
  EXPECT_FALSE(pull.checksums);
}

TEST(TransferTest, FlagsSayWhatIsContributedAndWhatIsWaitedFor) {
  const StepOptions plain = StepOptionsOf(Typed({})).value();
  EXPECT_FALSE(plain.weight.has_value());
  EXPECT_FALSE(plain.closes_round);
  EXPECT_FALSE(plain.abstain);
  EXPECT_TRUE(StepOptionsOf(Typed({"--abstain"}))->abstain);
  EXPECT_FALSE(plain.difference);
  EXPECT_FALSE(plain.return_pending);
  EXPECT_FALSE(plain.base_version.has_value());
  EXPECT_EQ(StepOptionsOf(Typed({"--base_version", "0"}))->base_version, 0u);
  EXPECT_EQ(StepOptionsOf(Typed({"--base_version", "12"}))->base_version, 12u);
  EXPECT_TRUE(IsUsageError(StepOptionsOf(Typed({"--base_version", "last"})).status()));
  const StepOptions step =
      StepOptionsOf(Typed({"--weight", "2.5", "--difference", "--no_wait", "--close_round"}))
          .value();
  EXPECT_EQ(step.weight, 2.5f);
  EXPECT_TRUE(step.closes_round);
  EXPECT_TRUE(step.difference);
  EXPECT_TRUE(step.return_pending);
  EXPECT_EQ(PullOptionsOf(Typed({}))->min_version, 0u);
  EXPECT_EQ(PullOptionsOf(Typed({"--min_version", "7"}))->min_version, 7u);
  EXPECT_TRUE(IsUsageError(StepOptionsOf(Typed({"--weight", "much"})).status()));
  EXPECT_TRUE(IsUsageError(PullOptionsOf(Typed({"--min_version", "-1"})).status()));
}

TEST(TransferTest, WithoutFlagsParametersTravelAsFloat32) {
  EXPECT_EQ(StepOptionsOf(Typed({}))->point, v1::POINT_PARAMETERS);
  EXPECT_EQ(StepOptionsOf(Typed({}))->gradient_dtype, v1::DTYPE_FLOAT32);
  EXPECT_EQ(PullOptionsOf(Typed({}))->point, v1::POINT_PARAMETERS);
  EXPECT_EQ(PullOptionsOf(Typed({}))->dtype, v1::DTYPE_FLOAT32);
}

TEST(TransferTest, WhatIsNoPointOrDtypeIsAUsageError) {
  EXPECT_TRUE(IsUsageError(StepOptionsOf(Typed({"--point", "average"})).status()));
  EXPECT_TRUE(IsUsageError(PullOptionsOf(Typed({"--point", "middle"})).status()));
  EXPECT_TRUE(IsUsageError(StepOptionsOf(Typed({"--dtype", "int8"})).status()));
  EXPECT_TRUE(IsUsageError(PullOptionsOf(Typed({"--dtype", "float64"})).status()));
}

TEST(TransferTest, WhatIsNoTerminalGetsNoBar) {
  std::FILE* const file = std::tmpfile();
  EXPECT_FALSE(TransferBar(file, "pull"));
  std::fclose(file);
}

}  // namespace
}  // namespace talweg
