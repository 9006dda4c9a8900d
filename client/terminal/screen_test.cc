// SPDX-License-Identifier: Apache-2.0
#include "client/terminal/screen.h"

#include <gtest/gtest.h>

namespace talweg {
namespace {

class ScreenTest : public ::testing::Test {
 protected:
  ~ScreenTest() override { std::fclose(file_); }
  std::string Written() {
    std::rewind(file_);
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    return text;
  }
  std::FILE* const file_ = std::tmpfile();
};

TEST_F(ScreenTest, DrawsOverItselfAndLeavesTheTerminalAsItWasWithTheLastPageBelow) {
  {
    Screen screen(file_);
    screen.Draw({"one", "two"}, {80, 24});
    screen.Draw({"three"}, {80, 24});
  }
  EXPECT_EQ(Written(),
            "\x1b[?1049h\x1b[?25l"
            "\x1b[H\x1b[Kone\r\n\x1b[Ktwo\r\n\x1b[J"
            "\x1b[H\x1b[Kthree\r\n\x1b[J"
            "\x1b[?25h\x1b[?1049lthree\n");
}

TEST_F(ScreenTest, APageNeverLeavesTheWindow) {
  Screen screen(file_);
  screen.Draw({"ηηηη", "2", "3"}, {3, 2});
  EXPECT_EQ(Written(), "\x1b[?1049h\x1b[?25l\x1b[H\x1b[Kηηη\r\n\x1b[K2");
}

TEST_F(ScreenTest, ClosesOnce) {
  Screen screen(file_);
  screen.Close();
  screen.Close();
  EXPECT_EQ(Written(), "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l");
}

TEST_F(ScreenTest, WhatIsNoTerminalHasASizeAllTheSame) {
  EXPECT_EQ(SizeOfTerminal(file_).columns, 80u);
  EXPECT_EQ(SizeOfTerminal(file_).rows, 24u);
}

}  // namespace
}  // namespace talweg
