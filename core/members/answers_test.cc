// SPDX-License-Identifier: Apache-2.0
#include "core/members/answers.h"

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

Member MemberWith(uint64_t settled, uint64_t pending) {
  Member member;
  member.settled = {settled, 7, nullptr, 100, Verdict::kTooStale};
  member.pending = {pending, 200};
  return member;
}

TEST(AnswersTest, ASequenceAboveAllOthersIsNew) {
  EXPECT_EQ(*Recall(Member{}, 1, 5), Remembered::kNothing);
  EXPECT_EQ(*Recall(MemberWith(3, 0), 4, 100), Remembered::kNothing);
  EXPECT_EQ(*Recall(MemberWith(3, 5), 6, 200), Remembered::kNothing);
  EXPECT_EQ(*Recall(MemberWith(3, 0), 99, 100), Remembered::kNothing);  // gaps are allowed
}

TEST(AnswersTest, ARepeatIsRecognisedByItsPayload) {
  EXPECT_EQ(*Recall(MemberWith(3, 0), 3, 100), Remembered::kSettled);
  EXPECT_EQ(*Recall(MemberWith(3, 5), 5, 200), Remembered::kPending);
  EXPECT_EQ(ReasonName(Recall(MemberWith(3, 0), 3, 101).status()), "SEQUENCE_REUSED");
  const absl::Status reused = Recall(MemberWith(3, 5), 5, 100).status();
  EXPECT_EQ(ReasonName(reused), "SEQUENCE_REUSED");
  EXPECT_EQ(reused.message(), "sequence 5 was sent before, with another payload");
}

TEST(AnswersTest, WhatCameBeforeTheLastIsTooOld) {
  EXPECT_EQ(ReasonName(Recall(MemberWith(3, 0), 2, 100).status()), "SEQUENCE_TOO_OLD");
  // The settled sequence is remembered, but a later one came.
  const absl::Status old = Recall(MemberWith(3, 5), 3, 100).status();
  EXPECT_EQ(ReasonName(old), "SEQUENCE_TOO_OLD");
  EXPECT_EQ(old.message(), "sequence 3 is older than the last one that came, 5");
}

TEST(AnswersTest, TheSettledAnswerIsTheRememberedOne) {
  Member member = MemberWith(3, 0);
  member.settled.verdict = Verdict::kApplied;
  member.settled.report = std::make_shared<const StepReport>();
  const Answer answer = SettledAnswer(member, true);
  EXPECT_EQ(answer.verdict, Verdict::kApplied);
  EXPECT_TRUE(answer.replayed);
  EXPECT_EQ(answer.applied_version, 7u);
  EXPECT_EQ(answer.report, member.settled.report);
  EXPECT_FALSE(SettledAnswer(member, false).replayed);
}

TEST(AnswersTest, APendingAnswerNamesTheVersionAndHasNoReport) {
  const Answer answer = PendingAnswer(Member{}, 9, true);
  EXPECT_EQ(answer.verdict, Verdict::kPending);
  EXPECT_TRUE(answer.replayed);
  EXPECT_EQ(answer.applied_version, 9u);
  EXPECT_EQ(answer.report, nullptr);
  EXPECT_FALSE(answer.will_not_count);
}

TEST(AnswersTest, APendingAnswerTellsThatItsContributionWillNotCount) {
  Member member = MemberWith(3, 5);
  EXPECT_FALSE(PendingAnswer(member, 9, false).will_not_count);
  member.pending.will_not_count = true;
  EXPECT_TRUE(PendingAnswer(member, 9, false).will_not_count);
  EXPECT_FALSE(SettledAnswer(member, false).will_not_count);
}

TEST(AnswersTest, AVerdictThatIsHeldIsPending) {
  Member member = MemberWith(3, 0);
  const Answer refused = HeldAnswer(member, true);
  EXPECT_EQ(refused.verdict, Verdict::kPending);
  EXPECT_TRUE(refused.replayed);
  EXPECT_EQ(refused.applied_version, 7u);
  EXPECT_TRUE(refused.will_not_count);
  member.settled.verdict = Verdict::kApplied;
  EXPECT_FALSE(HeldAnswer(member, false).will_not_count);
}

}  // namespace
}  // namespace talweg::core
