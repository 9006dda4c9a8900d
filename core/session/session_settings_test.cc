// SPDX-License-Identifier: Apache-2.0
//
// What the settings of a step do: clipping, decay, the average, groups, the lookahead.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "core/session/one_worker_testing.h"
#include "core/session/session.h"
#include "gtest/gtest.h"

namespace talweg::core::one_worker {
namespace {

TEST(SessionTest, GradientIsClippedByNormThenByValueThenDecayed) {
  const SessionConfig config = FullConfig(*FindMethod("gradient_descent"));
  const auto session = Make(config);
  const std::vector<float> before = Values(*session);
  const std::vector<float> gradient = PseudoVector(100, kElements);
  const Answer answer = Step(*session);
  const std::vector<float> after = Values(*session);
  const Layout& layout = *config.layout;

  std::vector<size_t> group_of(kElements);
  double shared = 0;
  double own = 0;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const std::string& name = layout.tensors()[tensor].name;
    for (uint64_t i = 0; i < layout.size_of(tensor); ++i) {
      const uint64_t index = layout.offsets()[tensor] + i;
      group_of[index] = name == "t1" ? 1 : name == "t3" ? 2 : 0;
      const double square = double{gradient[index]} * gradient[index];
      if (group_of[index] == 0) shared += square;
      if (group_of[index] == 2) own += square;
    }
  }
  EXPECT_NEAR(answer.report->gradient_norm, std::sqrt(shared + own), 1e-9);
  const double shared_factor = std::min(1.0, 40 / (std::sqrt(shared) + 1e-6));
  const double own_factor = std::min(1.0, 3 / (std::sqrt(own) + 1e-6));
  ASSERT_LT(shared_factor, 1);
  ASSERT_LT(own_factor, 1);
  EXPECT_NEAR(answer.report->clip_factor, std::min(shared_factor, own_factor), 1e-12);
  const double eta = answer.report->learning_rate;
  for (size_t i = 0; i < kElements; ++i) {
    double expected = before[i];
    if (group_of[i] == 0) {
      const double g = std::clamp(gradient[i] * shared_factor, -0.5, 0.5) + 0.02 * before[i];
      expected = before[i] * (1 - eta * 0.05) - eta * g;
    } else if (group_of[i] == 2) {
      expected = before[i] - eta * 0.25 * std::clamp(gradient[i] * own_factor, -0.125, 0.125);
    }
    ASSERT_NEAR(after[i], expected, 2e-7) << i;
  }
}

TEST(SessionTest, AverageFollowsTheParameters) {
  const auto session = Make(FullConfig(*FindMethod("gradient_descent")));
  const std::vector<float> initial = Values(*session);
  std::vector<double> expected(initial.begin(), initial.end());
  std::vector<float> read(kElements);
  for (int step = 0; step < 3; ++step) {
    Step(*session);
    const std::vector<float> now = Values(*session);
    for (size_t i = 0; i < kElements; ++i) expected[i] = 0.75 * expected[i] + 0.25 * now[i];
  }
  ASSERT_FALSE(session->IsParameters(Session::Point::kAverage));
  read = CopyOf(*ReadHere(*session, Session::Point::kAverage));
  for (size_t i = 0; i < kElements; ++i) ASSERT_NEAR(read[i], expected[i], 1e-6) << i;
  const auto plain = Make(*FindMethod("gradient_descent"));
  EXPECT_TRUE(plain->IsParameters(Session::Point::kAverage));
  EXPECT_TRUE(plain->IsParameters(Session::Point::kLookahead));
}

TEST(SessionTest, SlowAverageTakesAJumpThatIsSmallBesideTheWeights) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.99999});
  ASSERT_TRUE(config.Resolve().ok());
  const auto session = Make(config);
  const std::vector<float> before = Values(*session);
  Step(*session);
  const std::vector<float> after = Values(*session);
  const std::vector<float> zero(100);
  for (uint64_t step = 2; step <= 3001; ++step) Contribute(*session, step, zero);
  ASSERT_EQ(Values(*session), after);
  const std::vector<float> average = CopyOf(*ReadHere(*session, Session::Point::kAverage));
  const double left = std::pow(0.99999, 3001);
  for (size_t i = 0; i < 100; ++i) {
    const double expected = after[i] + (double{before[i]} - after[i]) * left;
    // The nearest float32, except for the last bit; and the same for what is left of the distance.
    EXPECT_NEAR(average[i], expected, std::abs(expected) * 1e-7) << i;
  }
}

TEST(SessionTest, AverageCostsEightBytesPerParameter) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  const uint64_t plain = config.MemoryBytes();
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.5});
  EXPECT_EQ(config.MemoryBytes(), plain + 8 * 100);
}

TEST(SessionTest, LookaheadGoesAheadByEachGroupsRateAndLeavesTheFrozen) {
  const SessionConfig frozen = FullConfig(*FindMethod("nesterov"));
  SessionConfig config = frozen;
  config.groups[0].config = {};
  const auto session = Make(config);
  ASSERT_FALSE(session->IsParameters(Session::Point::kLookahead));
  const std::vector<float> before = Values(*session);
  const double eta = Step(*session).report->learning_rate;
  const double next_eta = session->NextLearningRate();
  ASSERT_GT(next_eta, eta);  // warm-up
  // The tensor is frozen once it has momentum.
  ASSERT_TRUE(session->Reconfigure(0, frozen, kNow).effects.status.ok());
  const std::vector<float> after = Values(*session);
  std::vector<float> point(kElements);
  point = CopyOf(*ReadHere(*session, Session::Point::kLookahead));
  EXPECT_EQ(Values(*session), after);
  const Layout& layout = *session->config().layout;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const std::string& name = layout.tensors()[tensor].name;
    const double rate_factor = name == "t3" ? 0.25 : 1;
    const double decay = name == "t3" ? 0 : 0.05;
    for (uint64_t i = 0; i < layout.size_of(tensor); ++i) {
      const uint64_t index = layout.offsets()[tensor] + i;
      if (name == "t1") {
        ASSERT_EQ(point[index], after[index]) << index;
        continue;
      }
      // What the step moved, without its decay, was eta m.
      const double moved = before[index] * (1 - eta * rate_factor * decay) - after[index];
      ASSERT_NEAR(point[index], after[index] - 0.9 * next_eta / eta * moved, 5e-7) << index;
    }
  }
  EXPECT_NE(point, after);
}

TEST(SessionTest, SlowAverageOfFrozenParametersStaysWhereItIs) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.999999});
  config.groups = {{"*", ConfigOf<GroupConfig>(Group([](auto& c) { c.frozen = true; }))}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto session = Make(config);
  for (int step = 0; step < 1000; ++step) Step(*session);
  std::vector<float> read(100);
  read = CopyOf(*ReadHere(*session, Session::Point::kAverage));
  EXPECT_EQ(read, Values(*session));
}

// A schedule is a function of the step's number alone, so a live change acts as if the schedule had
// been the new one from the first step on.
TEST(SessionTest, AScheduleThatChangesInTheMiddleGivesTheNextStepTheRateOfItsNumber) {
  const auto cosine = [](double learning_rate, uint64_t warmup_steps, uint64_t total_steps) {
    std::unique_ptr<Config> config = FindDecayKind("cosine")->default_config();
    EXPECT_TRUE(config->Set("total_steps", total_steps).ok());
    return Schedule(ConfigOf<RateConfig>({learning_rate, warmup_steps}), *FindDecayKind("cosine"),
                    std::move(config));
  };
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  config.schedule = cosine(0.5, 4, 9);
  const auto session = Make(config);
  const auto next = [&] {
    const double said = session->NextLearningRate();
    const double had = Step(*session).report->learning_rate;
    EXPECT_EQ(said, had);
    return had;
  };
  const auto change = [&](const Schedule& schedule) {
    config.schedule = schedule;
    EXPECT_TRUE(session->Reconfigure(0, config, kNow).effects.status.ok());
  };
  const auto share = [](double of_decay) { return (1 + std::cos(M_PI * of_decay)) / 2; };
  for (const double expected : {0.125, 0.25, 0.375, 0.5, 0.5 * share(1 / 6.0)}) {
    EXPECT_DOUBLE_EQ(next(), expected);
  }
  change(cosine(0.5, 8, 9));  // A longer warm-up: step 6 belongs to it again.
  EXPECT_DOUBLE_EQ(next(), 0.5 * 6 / 8);
  change(cosine(0.5, 2, 9));  // A shorter one: decay has been under way for 5 of 8 steps.
  EXPECT_DOUBLE_EQ(next(), 0.5 * share(5 / 8.0));
  change(cosine(0.5, 2, 41));  // A later end: the rate rises to that of a slower decay.
  EXPECT_DOUBLE_EQ(next(), 0.5 * share(6 / 40.0));
  change(cosine(0.5, 2, 6));  // An end that is past.
  EXPECT_EQ(next(), 0);
  change(cosine(0.25, 20, 40));  // The rate that warm-up leads to.
  EXPECT_DOUBLE_EQ(next(), 0.25 * 10 / 20);
}

TEST(SessionTest, FactorsThatOverflowGiveTheLargestStepAndNoNan) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  RateConfig rate;
  rate.learning_rate = 1e300;
  const DecayKind& constant = *FindDecayKind("constant");
  config.schedule = Schedule(ConfigOf<RateConfig>(rate), constant, constant.default_config());
  config.groups = {
      {"*", ConfigOf<GroupConfig>(Group([](auto& c) { c.learning_rate_factor = 1e300; }))}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto session = Make(config);
  const std::vector<float> before = Values(*session);
  Contribute(*session, 1, std::vector<float>(100, 0.0f));
  EXPECT_EQ(Values(*session), before);
  config = ConfigFor(*FindMethod("gradient_descent"), 100);
  config.weight_decay = ConfigOf<WeightDecayConfig>({.coupled = 0, .decoupled = 1e300});
  config.groups = {{"*", ConfigOf<GroupConfig>(Group([](auto& c) {
                      c.decay_factor = 1e300;
                      c.learning_rate_factor = 0;
                    }))}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto still = Make(config);
  Step(*still);
  EXPECT_EQ(Values(*still), before);
}

TEST(SessionTest, GroupsAreChargedWithWhatTheyTake) {
  SessionConfig config = ConfigFor(*FindMethod("adam"));
  const uint64_t plain = config.MemoryBytes();
  config.groups = {{std::string(200, '*'), {}}};
  ASSERT_TRUE(config.Resolve().ok());
  EXPECT_GE(config.MemoryBytes(), plain + 200 + sizeof(ParameterGroup));
}

TEST(SessionConfigTest, GroupThatTakesNothingIsRefused) {
  SessionConfig config = ConfigFor(*FindMethod("adam"));
  config.groups = {{"t*", {}}, {"t1", {}}};
  EXPECT_EQ(FieldName(config.Resolve()), "groups[1].tensors");
  config.groups = {{"nothing", {}}};
  EXPECT_EQ(FieldName(config.Resolve()), "groups[0].tensors");
  EXPECT_EQ(ReasonName(config.Resolve()), "FIELD_OUT_OF_RANGE");
  config.groups = {{"t1", ConfigOf<GroupConfig>(Group([](auto& c) { c.fallback = true; }))}};
  EXPECT_EQ(FieldName(config.Resolve()), "groups[0].fallback");
}

}  // namespace
}  // namespace talweg::core::one_worker
