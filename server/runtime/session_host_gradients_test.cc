// SPDX-License-Identifier: Apache-2.0
//
// What a host makes of the gradients of a round: signs, weights, gradients that come over streams.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "core/session/staged_gradient.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_fleet.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;

TEST(SessionHostRoundsTest, DifferenceIsTheNegativeOfAGradient) {
  for (const bool streamed : {false, true}) {
    ComputePool pool(3);
    Fleet fleet(pool, 2, Synchronous());
    const auto difference = [&](size_t index, float value) {
      StepInput input = fleet.Input(index, 1, value);
      input.contribution.base_version = 0;
      input.is_difference = true;
      if (!streamed) return input;
      input.staged = std::make_shared<core::StagedGradient>(kManyShards);
      input.staged->Begin(fleet->host().group_map());
      input.staged->Append(input.gradient);
      return input;
    };
    const StepReply first = fleet->Step(difference(0, 2));
    const StepReply second = fleet->Step(difference(1, 4));
    EXPECT_THAT(second.Get()->parameters->values.span(), Each(1.5f));  // rate 0.5
    // The digest that is remembered is that of the difference, as it was sent.
    EXPECT_TRUE(fleet->Step(difference(0, 2)).Get()->answer.replayed);
    EXPECT_EQ(core::ReasonName(fleet->Step(difference(0, -2)).Get().status()), "SEQUENCE_REUSED");
    // A round of one contribution.
    ASSERT_TRUE(fleet->Leave(2, "b").Get().ok());
    StepInput alone = difference(0, 1);
    alone.contribution.sequence = 2;
    alone.contribution.base_version = 1;
    EXPECT_THAT(fleet->Step(alone).Get()->parameters->values.span(), Each(2.0f));
  }
}

TEST(SessionHostRoundsTest, WeightIsRefusedWhereTheReductionTakesNone) {
  core::AggregationConfig aggregation = Synchronous();
  aggregation.reduction = core::Reduction::kMedian;
  aggregation.max_workers = 3;
  ComputePool pool(2);
  Fleet fleet(pool, 3, aggregation);
  StepInput input = fleet.Input(0, 1, 9);
  input.has_weight = true;
  const StepReply refused = fleet->Step(input);
  EXPECT_EQ(core::ReasonName(refused.Get().status()), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(refused.Get().status()), "header.weight");
  input.has_weight = false;
  const StepReply first = fleet->Step(input);
  const StepReply second = fleet.Step(1, 1, 1);
  EXPECT_THAT(fleet.Step(2, 1, 2).Get()->parameters->values.span(), Each(-1.0f));
}

TEST(SessionHostRoundsTest, WeightsCount) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  StepInput input = fleet.Input(0, 1, 8);
  input.has_weight = true;
  input.contribution.weight = 3;
  const StepReply first = fleet->Step(input);
  const StepReply second = fleet.Step(1, 1, 4);
  EXPECT_THAT(second.Get()->parameters->values.span(), Each(-3.5f));
  EXPECT_EQ(second.Get()->answer.report->total_weight, 4);
}

// A staged contribution that logs "folded" when its memory is freed.
StepInput Staged(Fleet& fleet, size_t index, float value, OrderLog& log) {
  StepInput input = fleet.Input(index, 1, value);
  auto staged = std::shared_ptr<core::StagedGradient>(
      new core::StagedGradient(input.gradient.bytes.size() / sizeof(float)),
      [&log](core::StagedGradient* gone) {
        delete gone;
        log.Add("folded");
      });
  staged->Begin(fleet->host().group_map());
  staged->Append(input.gradient);
  input.staged = std::move(staged);
  input.gradient = {};
  return input;
}

// The words that are logged while `num_contributions` wait to be folded and another call waits for
// the session.
std::vector<std::string> FoldOrder(size_t num_contributions) {
  OrderLog log;
  ComputePool pool(1);
  Fleet fleet(pool, num_contributions + 1, Synchronous(), 10);
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  std::vector<StepReply> steps;
  for (size_t index = 0; index < num_contributions; ++index) {
    steps.push_back(fleet->Step(Staged(fleet, index, 1, log)));
  }
  fleet->host().Join(
      {"other", 0, {core::Role::kStatistics}},
      [&] {
        log.Add("joined");
        return 100;
      },
      [](auto) {});
  gate.Open();
  const StepReply last = fleet.Step(num_contributions, 1, 1);
  EXPECT_EQ(last.Get()->answer.report->contributors, num_contributions + 1);
  for (const StepReply& step : steps) {
    EXPECT_EQ(step.Get()->parameters, last.Get()->parameters);
    EXPECT_THAT(step.Get()->parameters->values.span(), Each(-0.5f));
  }
  return log.words();
}

TEST(SessionHostRoundsTest, StreamedGradientsAreFoldedTogetherAndWithoutHaste) {
  std::vector<std::string> words = FoldOrder(7);
  ASSERT_EQ(words.size(), 8u);
  EXPECT_EQ(words.front(), "joined");
  words = FoldOrder(8);
  ASSERT_EQ(words.size(), 9u);
  EXPECT_EQ(words.back(), "joined");
}

TEST(SessionHostRoundsTest, StreamedGradientIsFoldedWhenNothingElseIsToBeDone) {
  OrderLog log;
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  StatusReply folded;
  StepInput input = Staged(fleet, 0, 1, log);
  input.staged = std::shared_ptr<core::StagedGradient>(
      input.staged.get(), [held = input.staged, done = folded.Callback()](auto*) mutable {
        held.reset();
        done(absl::OkStatus());
      });
  const StepReply waiting = fleet->Step(std::move(input));
  EXPECT_TRUE(folded.Get().ok());
  EXPECT_FALSE(waiting.Ready());
  EXPECT_EQ(fleet.Step(1, 1, 3).Get()->answer.report->contributors, 2u);
  EXPECT_THAT(waiting.Get()->parameters->values.span(), Each(-1.0f));
}

TEST(SessionHostRoundsTest, OneMessageAndStreamedContributionsMakeOneMean) {
  OrderLog log;
  ComputePool pool(2);
  Fleet fleet(pool, 4, Synchronous());
  std::vector<StepReply> steps;
  steps.push_back(fleet->Step(Staged(fleet, 0, 1, log)));
  steps.push_back(fleet.Step(1, 1, 2));
  steps.push_back(fleet->Step(Staged(fleet, 2, 3, log)));
  steps.push_back(fleet.Step(3, 1, 6));
  for (const StepReply& step : steps) {
    EXPECT_THAT(step.Get()->parameters->values.span(), Each(-1.5f));
  }
}

}  // namespace
}  // namespace talweg::server
