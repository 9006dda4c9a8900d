// SPDX-License-Identifier: Apache-2.0
#include "server/ops/repeated_flag.h"

#include <vector>

#include "absl/flags/flag.h"
#include "gtest/gtest.h"

ABSL_FLAG(std::string, repeated_flag_place, "", "for this test");
ABSL_FLAG(bool, repeated_flag_open, false, "for this test");

namespace talweg::server {
namespace {

using Words = std::vector<const char*>;

constexpr char kPlace[] = "repeated_flag_place";
constexpr char kOpen[] = "repeated_flag_open";

TEST(RepeatedFlagTest, EveryFormOfAFlagIsCounted) {
  for (const Words& words : {
           Words{"--repeated_flag_place=a", "--repeated_flag_place=b"},
           Words{"--repeated_flag_place", "a", "--repeated_flag_place", "a"},
           Words{"-repeated_flag_place=a", "--repeated_flag_open", "--repeated_flag_place", "b"},
           Words{"word", "--repeated_flag_place=a", "-", "--repeated_flag_place="},
       }) {
    EXPECT_EQ(RepeatedFlag(words), kPlace) << words[0];
  }
  for (const Words& words : {
           Words{"--repeated_flag_open", "--repeated_flag_open"},
           Words{"--repeated_flag_open", "--norepeated_flag_open"},
           Words{"-norepeated_flag_open", "--repeated_flag_open=true"},
       }) {
    EXPECT_EQ(RepeatedFlag(words), kOpen) << words[0];
  }
  // Of a flag that nobody knows Abseil complains, unless it may be unknown.
  EXPECT_EQ(RepeatedFlag(Words{"--unknown=1", "--unknown=2"}), "unknown");
}

TEST(RepeatedFlagTest, ValuesPositionsAndFlagFilesAreNoRepetition) {
  for (const Words& words : {
           Words{},
           Words{"--repeated_flag_place=a", "--repeated_flag_open"},
           Words{"--repeated_flag_place", "--repeated_flag_place"},  // the second is the value
           Words{"--repeated_flag_place=a", "--", "--repeated_flag_place=b"},
           Words{"--repeated_flag_place=a", "repeated_flag_place=b"},
           Words{"--flagfile=a", "--flagfile=b", "--repeated_flag_place=c"},
           Words{"--undefok=a", "--undefok=b", "--fromenv=c", "--fromenv=d"},
       }) {
    EXPECT_EQ(RepeatedFlag(words), "") << (words.empty() ? "" : words[0]);
  }
}

}  // namespace
}  // namespace talweg::server
