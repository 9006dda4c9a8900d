// SPDX-License-Identifier: Apache-2.0
#include "client/process/program_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace talweg {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(ProgramPathTest, KnowsThisProgram) {
  EXPECT_THAT(PathOfThisProgram(), HasSubstr("client_process_test"));
}

TEST(ProgramPathTest, FindsAProgramOfThePath) {
  const std::string shell = FindProgram("sh");
  EXPECT_THAT(shell, EndsWith("/sh"));
  EXPECT_EQ(access(shell.c_str(), X_OK), 0);
  EXPECT_EQ(FindProgram("no-such-program-anywhere"), "");
  EXPECT_EQ(FindProgram(""), "");
}

TEST(ProgramPathTest, APathIsTakenAsItIs) {
  EXPECT_EQ(FindProgram("/no/such/program"), "/no/such/program");
  EXPECT_EQ(FindProgram("./program"), "./program");
}

}  // namespace
}  // namespace talweg
