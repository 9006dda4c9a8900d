// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/schedule.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "core/base/reasons.h"
#include "core/schedules/cosine.h"
#include "core/schedules/polynomial.h"
#include "core/schedules/power.h"
#include "core/schedules/step.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace talweg::core {
namespace {

constexpr uint64_t kLastStep = std::numeric_limits<uint64_t>::max();

Schedule MakeSchedule(absl::string_view kind_name, std::shared_ptr<const Config> config,
                      double learning_rate, uint64_t warmup_steps) {
  const DecayKind* kind = FindDecayKind(kind_name);
  EXPECT_NE(kind, nullptr) << kind_name;
  return Schedule(ConfigOf<RateConfig>({learning_rate, warmup_steps}), *kind, std::move(config));
}

std::shared_ptr<const Config> ConfigFromJson(const DecayKind& kind, const nlohmann::json& fields) {
  std::unique_ptr<Config> config = kind.default_config();
  for (const FieldInfo& field : config->Fields()) {
    const nlohmann::json& value = fields.at(std::string(field.name));
    const bool whole = std::holds_alternative<uint64_t>(field.default_value);
    EXPECT_TRUE(config
                    ->Set(field.name, whole ? FieldValue(value.get<uint64_t>())
                                            : FieldValue(value.get<double>()))
                    .ok());
  }
  return config;
}

// Vectors of PyTorch's schedulers. Most of those compute each rate from the last, and so does the
// tolerance: an error of a few units in the last place for each step taken, and the same share of
// the full rate where a cosine subtracts its way to zero.
TEST(ScheduleTest, GivesPyTorchsRates) {
  std::ifstream file(TALWEG_SCHEDULES_DIR "/schedule_vectors.json");
  ASSERT_TRUE(file.is_open());
  const nlohmann::json cases = nlohmann::json::parse(file)["cases"];
  absl::flat_hash_set<std::string> kinds;
  for (const nlohmann::json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const std::string kind = c["kind"];
    kinds.insert(kind);
    const double learning_rate = c["learning_rate"];
    ASSERT_NE(FindDecayKind(kind), nullptr);
    const Schedule schedule = MakeSchedule(kind, ConfigFromJson(*FindDecayKind(kind), c["fields"]),
                                           learning_rate, c["warmup_steps"]);
    ASSERT_GE(c["rates"].size(), 3u);
    for (const nlohmann::json& row : c["rates"]) {
      const uint64_t step = row[0];
      const double expected = row[1];
      const double steps = static_cast<double>(std::min<uint64_t>(step, 1000));
      const double tolerance =
          steps * (2e-16 * std::abs(expected) + 4e-17 * learning_rate) + 1e-15 * expected;
      EXPECT_NEAR(schedule.LearningRate(step), expected, tolerance) << "step " << step;
    }
  }
  EXPECT_EQ(kinds.size(), DecayKinds().size());
}

TEST(ScheduleTest, TableHasEveryKindOnceAndConstantFirst) {
  ASSERT_FALSE(DecayKinds().empty());
  EXPECT_EQ(DecayKinds().front().name, "constant");
  for (const DecayKind& kind : DecayKinds()) EXPECT_EQ(FindDecayKind(kind.name), &kind);
  EXPECT_EQ(FindDecayKind("exponential"), nullptr);
  EXPECT_EQ(FindDecayKind(""), nullptr);
}

TEST(ScheduleTest, EveryKindStartsAtOneAndNeverRisesOrLeavesItsRange) {
  for (const DecayKind& kind : DecayKinds()) {
    SCOPED_TRACE(std::string(kind.name));
    std::unique_ptr<Config> config = kind.default_config();
    for (const FieldInfo& field : config->Fields()) {
      if (field.name == "total_steps" || field.name == "period_steps") {
        ASSERT_TRUE(config->Set(field.name, uint64_t{100}).ok());
      }
    }
    EXPECT_EQ(kind.decay(*config, {1, 1}), 1.0);
    double last = 1;
    for (uint64_t step = 2; step < 300; ++step) {
      const double decay = kind.decay(*config, {step, 1});
      EXPECT_LE(decay, last) << step;
      EXPECT_GE(decay, 0.0) << step;
      last = decay;
    }
    for (const uint64_t step : {uint64_t{1} << 32, uint64_t{1} << 63, kLastStep}) {
      const double decay = kind.decay(*config, {step, 1});
      EXPECT_TRUE(decay >= 0 && decay <= last) << step;
    }
  }
}

TEST(ScheduleTest, DefaultsAreThoseOfTheProto) {
  const auto check = [](absl::string_view kind, absl::string_view field, FieldValue expected,
                        absl::string_view range, Presence presence) {
    const std::unique_ptr<Config> config = FindDecayKind(kind)->default_config();
    for (const FieldInfo& row : config->Fields()) {
      if (row.name != field) continue;
      EXPECT_EQ(FieldValueText(row.default_value), FieldValueText(expected)) << field;
      EXPECT_EQ(row.range, range) << field;
      EXPECT_EQ(row.presence, presence) << field;
      EXPECT_EQ(row.change, Change::kLive) << field;
      return;
    }
    ADD_FAILURE() << kind << " has no field " << field;
  };
  check("step", "period_steps", uint64_t{1}, ">= 1", Presence::kRequired);
  check("step", "factor", 0.1, "(0, 1]", Presence::kOptional);
  check("cosine", "total_steps", uint64_t{1}, ">= 1", Presence::kRequired);
  check("cosine", "final_fraction", 0.0, "[0, 1]", Presence::kOptional);
  check("polynomial", "total_steps", uint64_t{1}, ">= 1", Presence::kRequired);
  check("polynomial", "power", uint64_t{1}, "[1, 16]", Presence::kOptional);
  check("polynomial", "final_fraction", 0.0, "[0, 1]", Presence::kOptional);
}

TEST(ScheduleTest, WarmUpRisesLinearlyAndEndsExactly) {
  const auto constant = std::shared_ptr<const Config>(FindDecayKind("constant")->default_config());
  const Schedule schedule = MakeSchedule("constant", constant, 0.5, 4);
  EXPECT_EQ(schedule.LearningRate(1), 0.125);
  EXPECT_EQ(schedule.LearningRate(2), 0.25);
  EXPECT_EQ(schedule.LearningRate(3), 0.375);
  EXPECT_EQ(schedule.LearningRate(4), 0.5);
  EXPECT_EQ(schedule.LearningRate(5), 0.5);
  EXPECT_EQ(MakeSchedule("constant", constant, 0.5, 0).LearningRate(1), 0.5);
  EXPECT_EQ(MakeSchedule("constant", constant, 0.5, 1).LearningRate(1), 0.5);
  EXPECT_EQ(MakeSchedule("constant", constant, 0.5, kLastStep).LearningRate(uint64_t{1} << 63),
            0.25);
}

// A schedule of each kind over 10 steps, with a period of 2 where there is one.
std::vector<Schedule> EveryKind(double learning_rate, uint64_t warmup_steps) {
  std::vector<Schedule> schedules;
  for (const DecayKind& kind : DecayKinds()) {
    std::unique_ptr<Config> config = kind.default_config();
    for (const FieldInfo& field : config->Fields()) {
      const bool is_period = field.name == "period_steps";
      if (!is_period && field.name != "total_steps") continue;
      EXPECT_TRUE(config->Set(field.name, uint64_t{is_period ? 2u : 10u}).ok());
    }
    schedules.push_back(MakeSchedule(kind.name, std::move(config), learning_rate, warmup_steps));
  }
  return schedules;
}

TEST(ScheduleTest, WarmUpLeadsToTheWholeRateAndDecayStartsThere) {
  for (const Schedule& schedule : EveryKind(0.1, 5)) {
    SCOPED_TRACE(std::string(schedule.kind().name));
    for (uint64_t step = 1; step < 5; ++step) {
      EXPECT_EQ(schedule.LearningRate(step), 0.1 * (static_cast<double>(step) / 5)) << step;
    }
    EXPECT_EQ(schedule.LearningRate(5), 0.1);
    for (uint64_t step = 5; step < 30; ++step) {
      EXPECT_LE(schedule.LearningRate(step + 1), schedule.LearningRate(step)) << step;
    }
    // The first decayed step, except that a period keeps the rate for two steps.
    const bool falls = schedule.kind().name != "constant" && schedule.kind().name != "step";
    EXPECT_EQ(schedule.LearningRate(6) < 0.1, falls);
    EXPECT_EQ(schedule.LearningRate(7) < 0.1, schedule.kind().name != "constant");
  }
}

TEST(ScheduleTest, TotalStepsCountFromTheFirstStepAndIncludeTheWarmUp) {
  const auto cosine = std::make_shared<ConfigOf<CosineDecay>>(CosineDecay{10, 0});
  const auto linear = std::make_shared<ConfigOf<PolynomialDecay>>(PolynomialDecay{10, 1, 0.25});
  for (const uint64_t warmup_steps : {0, 1, 2, 5, 9}) {
    const Schedule to_zero = MakeSchedule("cosine", cosine, 0.1, warmup_steps);
    EXPECT_GT(to_zero.LearningRate(10), 0) << warmup_steps;
    EXPECT_EQ(to_zero.LearningRate(11), 0) << warmup_steps;
    const Schedule to_a_quarter = MakeSchedule("polynomial", linear, 0.5, warmup_steps);
    EXPECT_GT(to_a_quarter.LearningRate(10), 0.125) << warmup_steps;
    EXPECT_EQ(to_a_quarter.LearningRate(11), 0.125) << warmup_steps;
    EXPECT_EQ(to_a_quarter.LearningRate(kLastStep), 0.125) << warmup_steps;
  }
}

TEST(ScheduleTest, PeriodsCountFromTheEndOfTheWarmUp) {
  const auto config = std::make_shared<ConfigOf<StepDecay>>(StepDecay{3, 0.5});
  const Schedule schedule = MakeSchedule("step", config, 1, 4);
  const double expected[] = {0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.5, 0.25};
  for (uint64_t step = 1; step <= 10; ++step) {
    EXPECT_EQ(schedule.LearningRate(step), expected[step - 1]) << step;
  }
}

TEST(ScheduleTest, InverseSqrtGoesOnFromTheWarmUpAsTheRootOfItsLength) {
  const auto config =
      std::shared_ptr<const Config>(FindDecayKind("inverse_sqrt")->default_config());
  const Schedule schedule = MakeSchedule("inverse_sqrt", config, 0.5, 16);
  EXPECT_EQ(schedule.LearningRate(8), 0.25);
  EXPECT_EQ(schedule.LearningRate(16), 0.5);
  EXPECT_EQ(schedule.LearningRate(64), 0.25);
  EXPECT_EQ(schedule.LearningRate(256), 0.125);
}

TEST(ScheduleTest, AWarmUpOfOneStepIsNone) {
  const std::vector<Schedule> without = EveryKind(0.3, 0);
  const std::vector<Schedule> with_one = EveryKind(0.3, 1);
  for (size_t kind = 0; kind < without.size(); ++kind) {
    for (uint64_t step = 1; step < 40; ++step) {
      EXPECT_EQ(with_one[kind].LearningRate(step), without[kind].LearningRate(step)) << step;
    }
  }
}

TEST(ScheduleTest, ADecayThatEndsWithTheWarmUpOrBeforeIsRefused) {
  for (const uint64_t warmup_steps : {0, 9, 10, 11}) {
    for (const Schedule& schedule : EveryKind(1, warmup_steps)) {
      const bool has_end = schedule.kind().name == "cosine" || schedule.kind().name == "polynomial";
      const absl::Status status = schedule.CheckWarmup();
      ASSERT_EQ(status.ok(), !has_end || warmup_steps < 10) << schedule.kind().name;
      if (status.ok()) continue;
      EXPECT_EQ(ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE");
      EXPECT_EQ(FieldName(status), std::string(schedule.kind().name) + ".total_steps");
      if (warmup_steps != 11) continue;
      EXPECT_EQ(status.message(),
                "total_steps is 10, allowed: more than the 11 of warmup_steps, which it includes");
    }
  }
}

// A state that an earlier version saved may have such a schedule.
TEST(ScheduleTest, ADecayThatEndsBeforeTheWarmUpIsAtItsEndAfterThePeak) {
  for (const uint64_t total_steps : {1, 5, 99, 100}) {
    const auto config = std::make_shared<ConfigOf<CosineDecay>>(CosineDecay{total_steps, 0.5});
    const Schedule schedule = MakeSchedule("cosine", config, 1, 100);
    EXPECT_EQ(schedule.LearningRate(1), 0.01);
    EXPECT_EQ(schedule.LearningRate(50), 0.5);
    EXPECT_EQ(schedule.LearningRate(100), 1);
    EXPECT_EQ(schedule.LearningRate(101), 0.5);
    EXPECT_EQ(schedule.LearningRate(kLastStep), 0.5);
  }
}

TEST(CosineDecayTest, IsExactAtItsEndsAndInTheMiddle) {
  const CosineDecay decay{1000, 0};
  EXPECT_EQ(decay.At({1, 1}), 1.0);
  EXPECT_EQ(decay.At({501, 1}), 0.5);
  EXPECT_EQ(decay.At({1001, 1}), 0.0);
  EXPECT_EQ(decay.At({1002, 1}), 0.0);
  EXPECT_EQ(decay.At({kLastStep, 1}), 0.0);
  EXPECT_EQ((CosineDecay{1, 0}).At({1, 1}), 1.0);
  EXPECT_EQ((CosineDecay{1, 0}).At({2, 1}), 0.0);
  EXPECT_EQ((CosineDecay{kLastStep, 0.25}).At({1, 1}), 1.0);
}

TEST(CosineDecayTest, HalfCosineStaysWithinItsErrorOverADenseGrid) {
  double worst_share = 0;
  double worst = 0;
  for (const uint64_t total : {uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{7}, uint64_t{1000},
                               uint64_t{99991}, uint64_t{1000000000039}}) {
    constexpr uint64_t kPoints = 200000;
    for (uint64_t point = 0; point <= kPoints; ++point) {
      const uint64_t taken = total <= kPoints ? point : total / kPoints * point;
      if (taken > total) break;
      // sin(pi/2 (total - taken) / total)^2, which keeps its digits where the cosine nears -1.
      const long double sine = std::sin(std::numbers::pi_v<long double> / 2 *
                                        static_cast<long double>(total - taken) / total);
      const long double expected = sine * sine;
      const long double error = std::abs(HalfCosine(taken, total) - expected);
      worst = std::max(worst, static_cast<double>(error));
      if (expected > 0) worst_share = std::max(worst_share, static_cast<double>(error / expected));
    }
  }
  EXPECT_LE(worst_share, 1e-15);
  EXPECT_LE(worst, 4e-16);
}

TEST(StepDecayTest, FallsExactlyAtEachPeriod) {
  const StepDecay decay{3, 0.5};
  const double expected[] = {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125};
  for (uint64_t step = 1; step <= 10; ++step)
    EXPECT_EQ(decay.At({step, 1}), expected[step - 1]) << step;
  EXPECT_EQ((StepDecay{1, 0.1}).At({kLastStep, 1}), 0.0);
  EXPECT_EQ((StepDecay{1, 1}).At({kLastStep, 1}), 1.0);
  EXPECT_EQ((StepDecay{kLastStep, 0.1}).At({kLastStep, 1}), 1.0);
}

TEST(PolynomialDecayTest, IsExactWhereItCanBe) {
  const PolynomialDecay decay{4, 2, 0};
  EXPECT_EQ(decay.At({1, 1}), 1.0);
  EXPECT_EQ(decay.At({2, 1}), 0.5625);
  EXPECT_EQ(decay.At({3, 1}), 0.25);
  EXPECT_EQ(decay.At({4, 1}), 0.0625);
  EXPECT_EQ(decay.At({5, 1}), 0.0);
  EXPECT_EQ(decay.At({kLastStep, 1}), 0.0);
  EXPECT_EQ((PolynomialDecay{4, 1, 0.5}).At({3, 1}), 0.75);
  EXPECT_EQ((PolynomialDecay{4, 1, 0.5}).At({100, 1}), 0.5);
}

TEST(WholePowerTest, StaysWithinAnUlpForEachFactor) {
  for (const double base : {0.0, 0.1, 0.5, 0.9, 0.999, 1.0}) {
    long double product = 1;
    for (uint64_t exponent = 0; exponent < 2000; ++exponent) {
      const auto tolerance = static_cast<double>(product * 1.2e-16L * (exponent + 1));
      EXPECT_NEAR(WholePower(base, exponent), static_cast<double>(product), tolerance + 5e-324)
          << base << "^" << exponent;
      product *= base;
    }
  }
}

}  // namespace
}  // namespace talweg::core
