// SPDX-License-Identifier: Apache-2.0
//
// What is promised of the work that a session hands out.
#include "core/session/work.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr uint64_t kHistory = 5;
constexpr uint64_t kElements = 2 * kShard + 17;  // three shards
const absl::Time kNow = absl::UnixEpoch();

// Gradients are accumulated, `steps` a version, and the average of the versions is kept.
SessionConfig ConfigOfTest(uint64_t steps) {
  const Method& method = *FindMethod("gradient_descent");
  const DecayKind& kind = *FindDecayKind("constant");
  RateConfig rate;
  rate.learning_rate = 0.5;
  AggregationConfig aggregation;
  aggregation.gradient_accumulation_steps = steps;
  SessionConfig config{std::make_shared<const Layout>(*Layout::Create({{"w", {kElements}}})),
                       &method, method.default_config(),
                       Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
                       ConfigOf<AggregationConfig>(aggregation)};
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.5});
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

class SessionWorkTest : public testing::Test {
 protected:
  void Start(uint64_t steps) {
    session_ = std::make_unique<Session>(ConfigOfTest(steps), kHistory,
                                         std::make_shared<Parameters>(kElements));
    EXPECT_TRUE(session_->Handle(Join{"w", 1}, kNow).effects.status.ok());
  }

  // A contribution whose elements are all `value`, based on the version before the current one if
  // it is not `fresh`.
  ContributionInput Input(float value) {
    ContributionInput input{Contribution{kHistory, "w", 1, ++sequence_}};
    input.contribution.base_version = session_->machine().version();
    input.contribution.ticket = sequence_;
    input.gradient = std::make_shared<StagedGradient>(kElements);
    input.gradient->Begin(session_->config().group_map);
    const std::vector<float> values(kElements, value);
    input.gradient->Stage({0, kElements}, Dtype::kFloat32,
                          reinterpret_cast<const char*>(values.data()));
    return input;
  }

  // Judges it; what it orders is for the test to run.
  Outcome Contribute(ContributionInput input) {
    EXPECT_TRUE(PrepareFor(*session_).ok());
    return session_->Contribute(input, kNow);
  }

  void RunAndEnd(const Outcome& outcome) {
    outcome.work->RunHere();
    session_->End(*outcome.work, kNow);
  }

  absl::Span<const float> values() const { return session_->parameters()->values.span(); }

  std::unique_ptr<Session> session_;
  uint64_t sequence_ = 0;
};

TEST(WorkTest, RunHereRunsEveryPieceOfEveryStageInOrder) {
  std::vector<std::string> log;
  Work work;
  work.Add({[] { return 2; }, [&](size_t piece) { log.push_back("a" + std::to_string(piece)); },
            [&] { log.push_back("begin"); }, [&] { log.push_back("end"); }});
  work.Add({[] { return 0; }, [&](size_t) { log.push_back("never"); }});
  work.Add({[] { return 1; }, [&](size_t) { log.push_back("b"); }});
  work.RunHere();
  EXPECT_THAT(log, ElementsAre("begin", "a0", "a1", "end", "b"));
}

TEST_F(SessionWorkTest, CopyOfAVersionAndAStepMayBeUnderWayTogether) {
  Start(1);
  RunAndEnd(Contribute(Input(2)));
  auto copy = std::make_shared<Parameters>(kElements);
  const auto copying = session_->BeginRead(Session::Point::kParameters, copy);
  const Outcome step = Contribute(Input(4));
  // Piece by piece in turn.
  copying->BeginStage(0);
  step.work->BeginStage(0);
  ASSERT_EQ(copying->NumPieces(0), step.work->NumPieces(0));
  for (size_t piece = 0; piece < copying->NumPieces(0); ++piece) {
    step.work->RunPiece(0, piece);
    copying->RunPiece(0, piece);
  }
  step.work->EndStage(0);
  ASSERT_EQ(step.work->NumStages(), 1u);
  EXPECT_TRUE(session_->End(*step.work, kNow).step.has_value());
  copying->EndStage(0);
  EXPECT_FALSE(session_->End(*copying, kNow).step.has_value());
  EXPECT_EQ(copy->version, 1u);
  EXPECT_THAT(copy->values.span(), Each(-1.0f));
  EXPECT_THAT(values(), Each(-3.0f));
}

TEST_F(SessionWorkTest, FoldAndReadingTheAverageMayBeUnderWayTogether) {
  Start(2);
  RunAndEnd([&] {
    EXPECT_EQ(Contribute(Input(1)).work, nullptr);
    return Contribute(Input(3));
  }());
  EXPECT_THAT(values(), Each(-1.0f));
  EXPECT_EQ(Contribute(Input(6)).work, nullptr);
  const auto fold = session_->BeginFold();
  ASSERT_NE(fold, nullptr);
  auto average = std::make_shared<Parameters>(kElements);
  const auto reading = session_->BeginRead(Session::Point::kAverage, average);
  fold->RunHere();
  reading->RunHere();
  session_->End(*reading, kNow);
  session_->End(*fold, kNow);
  EXPECT_THAT(average->values.span(), Each(-0.5f));
  EXPECT_EQ(session_->BeginFold(), nullptr);
  RunAndEnd(Contribute(Input(2)));
  EXPECT_THAT(values(), Each(-3.0f));
}

TEST_F(SessionWorkTest, WorksThatMeetAreABrokenPromise) {
  Start(1);
  const auto reading =
      session_->BeginRead(Session::Point::kAverage, std::make_shared<Parameters>(kElements));
  EXPECT_DEATH(Contribute(Input(1)), "broken promise");
  reading->RunHere();
  session_->End(*reading, kNow);
  RunAndEnd(Contribute(Input(1)));
  EXPECT_THAT(values(), Each(-0.5f));
}

TEST_F(SessionWorkTest, DifferenceIsTurnedOverBeforeItIsFoldedOrStepped) {
  Start(1);
  ContributionInput alone = Input(2);
  alone.is_difference = true;
  RunAndEnd(Contribute(std::move(alone)));
  EXPECT_THAT(values(), Each(1.0f));

  Start(2);
  sequence_ = 0;
  ContributionInput first = Input(2);
  first.is_difference = true;
  RunAndEnd(Contribute(std::move(first)));  // only turns it over
  EXPECT_EQ(session_->num_unfolded(), 1u);
  RunAndEnd(Contribute(Input(6)));
  EXPECT_THAT(values(), Each(-1.0f));
}

TEST_F(SessionWorkTest, RepeatWithAnotherSignIsAnotherPayload) {
  Start(2);
  ContributionInput input = Input(2);
  EXPECT_TRUE(Contribute(input).effects.status.ok());
  EXPECT_TRUE(Contribute(input).effects.answer->replayed);
  input.is_difference = true;
  EXPECT_EQ(ReasonName(Contribute(input).effects.status), "SEQUENCE_REUSED");
}

TEST_F(SessionWorkTest, FirstLossCounts) {
  Start(1);
  ContributionInput input = Input(2);
  input.losses = {0.25, 7};
  RunAndEnd(Contribute(std::move(input)));
  EXPECT_EQ(session_->machine().last_step()->loss, 0.25);
}

TEST_F(SessionWorkTest, VectorOfTheNextVersionIsKeptWhileARoundIsOpen) {
  Start(2);
  int taken = 0;
  const auto take = [&]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
    ++taken;
    return std::make_shared<Parameters>(kElements);
  };
  ContributionInput first = Input(1);
  ASSERT_TRUE(session_->Prepare(false, take).ok());
  session_->Contribute(first, kNow);
  session_->ReleaseUnusedMemory();
  ASSERT_TRUE(session_->Prepare(false, take).ok());
  EXPECT_EQ(taken, 1);  // the round is open
  ContributionInput second = Input(1);
  const Outcome outcome = session_->Contribute(second, kNow);
  RunAndEnd(outcome);
  ASSERT_TRUE(session_->Prepare(false, take).ok());
  session_->ReleaseUnusedMemory();
  ASSERT_TRUE(session_->Prepare(false, take).ok());
  EXPECT_EQ(taken, 3);
}

}  // namespace
}  // namespace talweg::core
