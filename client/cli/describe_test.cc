// SPDX-License-Identifier: Apache-2.0
#include "client/cli/describe.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

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

// "waits for: 2: b c".
std::string RoundText(const v1::OpenRound& round) {
  std::vector<std::string> lines;
  for (const auto& [name, text] : OpenRoundTexts(round)) {
    lines.push_back(absl::StrCat(name, ": ", text));
  }
  return absl::StrJoin(lines, "\n");
}

TEST(DescribeTest, AnOpenRoundTellsWhoIsWaitedForAndWhatClosesIt) {
  v1::OpenRound round;
  round.set_version(8);
  round.set_open_seconds(3.14);
  round.mutable_contributed()->set_count(1);
  round.mutable_contributed()->add_names("a");
  round.mutable_expected()->set_count(6);
  for (const char* name : {"b", "c", "d", "e", "f", "g"}) round.mutable_expected()->add_names(name);
  round.mutable_late()->set_count(1);
  round.mutable_late()->add_names("z");
  round.set_close(v1::CLOSE_RULE_DEADLINE);
  round.set_closes_in_seconds(1.5);
  EXPECT_EQ(RoundText(round),
            "open round: makes version 8, for 3.1 s\n"
            "contributed: 1: a\n"
            "waits for: 6: b c d e ...\n"
            "late in it: 1: z\n"
            "closes: DEADLINE, in 1.5 s at the latest");
}

TEST(DescribeTest, AStuckRoundSaysWhatWouldFreeIt) {
  v1::OpenRound round;
  round.set_version(1);
  round.set_close(v1::CLOSE_RULE_COUNT);
  round.set_too_few(v1::TOO_FEW_WAIT);
  round.set_num_contributions(2);
  round.set_needed_contributions(4);
  EXPECT_EQ(RoundText(round),
            "open round: makes version 1\n"
            "closes: COUNT, 2 of 4 contributions, nobody else is expected: more workers must join, "
            "or the policy change");
}

TEST(DescribeTest, AStepThatWillNotCountSaysSo) {
  StepResult result;
  result.verdict = v1::VERDICT_PENDING;
  result.will_not_count = true;
  EXPECT_NE(StepTable(result).find("PENDING, will not count"), std::string::npos);
  result.will_not_count = false;
  EXPECT_EQ(StepTable(result).find("will not count"), std::string::npos);
}

TEST(DescribeTest, ASessionTellsItsOpenRound) {
  v1::Session session;
  EXPECT_EQ(SessionTable(session).find("open round"), std::string::npos);
  session.mutable_open_round()->set_version(8);
  EXPECT_NE(SessionTable(session).find("open round"), std::string::npos);
}

}  // namespace
}  // namespace talweg
