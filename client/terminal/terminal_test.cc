// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "client/terminal/progress.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

TEST(TableTest, AlignsColumnsByCharacters) {
  Table table({{"name"}, {"steps", Align::kRight}});
  table.AddRow({"η", "1"});
  table.AddRow({"momentum", "12,345"});
  EXPECT_EQ(table.Text(),
            "name       steps\n"
            "η              1\n"
            "momentum  12,345\n");
}

TEST(TableTest, LeavesOutEmptyTitles) {
  Table table({{""}, {""}});
  table.AddRow({"version", "3"});
  EXPECT_EQ(table.Text(), "version  3\n");
}

TEST(TableTest, WritesNumbersForPeople) {
  EXPECT_EQ(GroupDigits(0), "0");
  EXPECT_EQ(GroupDigits(999), "999");
  EXPECT_EQ(GroupDigits(1234567), "1,234,567");
}

class ProgressTest : public ::testing::Test {
 protected:
  ~ProgressTest() override { std::fclose(file_); }
  std::string Written() {
    std::rewind(file_);
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    return text;
  }
  std::FILE* const file_ = std::tmpfile();
};

TEST_F(ProgressTest, WritesPlainLinesWhereNothingRedraws) {
  Progress progress(file_, false, "adam", 200);
  progress.Draw(50, "loss 0.5", absl::UnixEpoch());
  EXPECT_FALSE(progress.Due(absl::UnixEpoch() + absl::Seconds(9)));
  EXPECT_TRUE(progress.Due(absl::UnixEpoch() + absl::Seconds(10)));
  progress.Finish(200, "loss 0.1");
  EXPECT_EQ(Written(), "adam   25 %  loss 0.5\nadam  100 %  loss 0.1\n");
}

TEST_F(ProgressTest, DrawsOneLineOverItselfWithinTheTerminal) {
  Progress progress(file_, true, "adam", 200);
  progress.Draw(100, std::string(200, 'x'), absl::UnixEpoch());
  const std::string text = Written();
  EXPECT_EQ(text.find("\r\x1b[Kadam  ━━━━━━━━━━━━────────────  50 %  xx"), 0u) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(TextWidth(text) - 4, 79u);
}

}  // namespace
}  // namespace talweg
