// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/answers.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

using Told = std::vector<absl::StatusOr<StepOutcome>>;

StepDone Into(Told& told) {
  return [&told](absl::StatusOr<StepOutcome> outcome) { told.push_back(std::move(outcome)); };
}

std::shared_ptr<const core::Parameters> Version(uint64_t number) {
  auto parameters = std::make_shared<core::Parameters>(1);
  parameters->version = number;
  return parameters;
}

void TellAll(Answers& answers) {
  for (size_t piece = 0; piece < answers.num_pieces(); ++piece) answers.Tell(piece);
}

core::Answer Applied(uint64_t version, bool replayed = false) {
  return {core::Verdict::kApplied, replayed, version, nullptr};
}

TEST(AnswersTest, EveryCallIsToldOnceInPiecesOfSixteen) {
  Told told;
  Answers answers;
  EXPECT_EQ(answers.num_pieces(), 1u);
  TellAll(answers);
  for (int call = 0; call < 33; ++call) answers.Add(Into(told), Applied(1));
  EXPECT_EQ(answers.num_pieces(), 3u);
  answers.Tell(2);
  EXPECT_EQ(told.size(), 1u);
  answers.Tell(0);
  answers.Tell(1);
  EXPECT_EQ(told.size(), 33u);
}

TEST(AnswersTest, VersionBeforeTheStepGoesToThoseWhoMadeItAlone) {
  Told told;
  Answers answers;
  answers.Add(Into(told), Applied(5));
  answers.Add(Into(told), Applied(5, /*replayed=*/true));
  answers.Add(Into(told), Applied(3));
  answers.Add(Into(told), core::Answer{core::Verdict::kRoundClosed, false, 5, nullptr});
  const auto before = Version(4);
  const auto now = Version(5);
  answers.SetAlong({now, before, nullptr, 0.5});
  TellAll(answers);
  EXPECT_EQ(told[0]->previous, before);
  for (size_t call = 1; call < 4; ++call) EXPECT_EQ(told[call]->previous, nullptr) << call;
  for (const auto& one : told) {
    EXPECT_EQ(one->parameters, now);
    EXPECT_EQ(one->next_learning_rate, 0.5);
  }
}

TEST(AnswersTest, LookaheadGoesToThoseWhoWantIt) {
  Told told;
  Answers answers;
  EXPECT_FALSE(answers.AnyWantsLookahead());
  answers.Add(Into(told), absl::AbortedError("no"), /*wants_lookahead=*/true);
  EXPECT_FALSE(answers.AnyWantsLookahead());  // it gets an error
  answers.Add(Into(told), Applied(1), /*wants_lookahead=*/true);
  answers.Add(Into(told), Applied(1));
  EXPECT_TRUE(answers.AnyWantsLookahead());
  const auto lookahead = Version(1);
  answers.SetAlong({Version(1), nullptr, lookahead, 0});
  TellAll(answers);
  EXPECT_EQ(told[1]->lookahead, lookahead);
  EXPECT_EQ(told[2]->lookahead, nullptr);
}

TEST(AnswersTest, FailureReplacesAnswersAndNoErrors) {
  Told told;
  Answers answers;
  answers.Add(Into(told), absl::AbortedError("first"));
  answers.Add(Into(told), Applied(1), /*wants_lookahead=*/true);
  answers.Add(Into(told), Applied(1));
  answers.FailAllThatWantLookahead(absl::UnavailableError("second"));
  answers.FailAll(absl::CancelledError("third"));
  TellAll(answers);
  EXPECT_EQ(told[0].status().message(), "first");
  EXPECT_EQ(told[1].status().message(), "second");
  EXPECT_EQ(told[2].status().message(), "third");
}

}  // namespace
}  // namespace talweg::server
