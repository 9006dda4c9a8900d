// SPDX-License-Identifier: Apache-2.0
#include "client/cli/transfer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace talweg {
namespace {

Arguments Typed(const std::vector<std::string>& words) {
  const std::vector<Flag> flags = {
      {"point", "POINT", ""}, {"dtype", "DTYPE", ""}, {"checksums", "", ""}};
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
