// SPDX-License-Identifier: Apache-2.0
//
// Which policies are taken, and which are refused: unused, contradicting, starving.
#include "core/rounds/aggregation_config.h"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::HasSubstr;
using C = AggregationConfig;
using Edit = std::function<void(C&)>;
using Base = void (*)(C&);

void Synchronous(C& config) { config.mode = AggregationMode::kSynchronous; }
void Bounded(C& config) { config.mode = AggregationMode::kBoundedStaleness; }
void ByCount(C& config) {
  Synchronous(config);
  config.close = CloseRule::kCount;
  config.close_count = 3;
}
void ByWeight(C& config) {
  Synchronous(config);
  config.close = CloseRule::kWeight;
  config.close_weight = 64;
}
void ByDeadline(C& config) {
  Synchronous(config);
  config.close = CloseRule::kDeadline;
  config.close_seconds = 5;
}
void Trimmed(C& config) {
  Synchronous(config);
  config.reduction = Reduction::kTrimmedMean;
  config.trim_fraction = 0.25;
  config.max_workers = 16;
}
void Median(C& config) {
  Synchronous(config);
  config.reduction = Reduction::kMedian;
  config.max_workers = 16;
}
void ByWorker(C& config) {
  Synchronous(config);
  config.reduce_order = ReduceOrder::kByWorker;
  config.max_workers = 16;
}

C Make(const Edit& base, const Edit& change) {
  C config;
  if (base) base(config);
  if (change) change(config);
  return config;
}

// The field that is to blame, or "" if the policy is taken.
std::string Blamed(const Edit& base, const Edit& change = nullptr) {
  const absl::Status status = Make(base, change).Validate();
  if (status.ok()) return "";
  EXPECT_EQ(ReasonName(status), "FIELD_OUT_OF_RANGE") << status;
  return FieldName(status);
}

TEST(AggregationConfigTest, DefaultIsOneTrainer) {
  const C config;
  EXPECT_TRUE(config.Validate().ok());
  EXPECT_EQ(config.mode, AggregationMode::kAsynchronous);
  EXPECT_EQ(config.max_staleness, 0u);
  EXPECT_FALSE(config.folds());
  EXPECT_FALSE(config.replies_wait());
  EXPECT_TRUE(config.takes_weights());
  EXPECT_FALSE(config.stages_all());
  EXPECT_EQ(config.RoundBytes(1000), 0u);
}

TEST(AggregationConfigTest, EveryModeAndRuleIsTaken) {
  for (const Base base :
       {Synchronous, Bounded, ByCount, ByWeight, ByDeadline, Trimmed, Median, ByWorker}) {
    EXPECT_EQ(Blamed(base), "");
  }
}

TEST(AggregationConfigTest, WhatTheModeOrRuleDoesNotUseIsRefused) {
  const struct {
    const char* field;
    Edit set;
    std::vector<Base> used_with;  // of the bases below; refused with all others
  } rows[] = {
      {"gradient_accumulation_steps", [](C& c) { c.gradient_accumulation_steps = 2; }, {}},
      {"max_rounds_ahead", [](C& c) { c.max_rounds_ahead = 1; }, {Bounded}},
      {"too_few", [](C& c) { c.too_few = TooFew::kClose; }, {ByCount, ByWeight}},
      {"min_workers",
       [](C& c) { c.min_workers = 2; },
       {Synchronous, ByCount, ByWeight, ByDeadline, Trimmed, Median, ByWorker}},
      {"progress_seconds",
       [](C& c) { c.progress_seconds = 9; },
       {Synchronous, Bounded, ByCount, ByWeight, ByDeadline, Trimmed, Median, ByWorker}},
      {"trim_fraction", [](C& c) { c.trim_fraction = 0.125; }, {Trimmed}},
      {"close_count", [](C& c) { c.close_count = 4; }, {ByCount}},
      {"close_weight", [](C& c) { c.close_weight = 4; }, {ByWeight}},
      {"close_seconds", [](C& c) { c.close_seconds = 4; }, {ByDeadline}},
  };
  for (const auto& row : rows) {
    for (const Base base :
         {Synchronous, Bounded, ByCount, ByWeight, ByDeadline, Trimmed, Median, ByWorker}) {
      const bool used = std::count(row.used_with.begin(), row.used_with.end(), base) > 0;
      EXPECT_EQ(Blamed(base, row.set), used ? "" : row.field);
    }
    const bool asynchronous = std::string(row.field) == "gradient_accumulation_steps";
    EXPECT_EQ(Blamed(nullptr, row.set), asynchronous ? "" : row.field);
  }
}

TEST(AggregationConfigTest, RoundsAreOfTheSynchronousModeOnly) {
  EXPECT_EQ(Blamed(ByCount, [](C& c) { c.mode = AggregationMode::kAsynchronous; }), "close");
  EXPECT_EQ(Blamed(ByDeadline, Bounded), "close");
  EXPECT_EQ(Blamed(Median, Bounded), "reduction");
  EXPECT_EQ(Blamed(ByWorker, Bounded), "reduce_order");
}

TEST(AggregationConfigTest, WhatARuleNeedsHasAValueThatItCanUse) {
  EXPECT_EQ(Blamed(ByCount, [](C& c) { c.close_count = 0; }), "close_count");
  EXPECT_EQ(Blamed(ByWeight, [](C& c) { c.close_weight = 0; }), "close_weight");
  EXPECT_EQ(Blamed(ByDeadline, [](C& c) { c.close_seconds = 0; }), "close_seconds");
  EXPECT_EQ(Blamed(Trimmed, [](C& c) { c.max_workers = 0; }), "max_workers");
  EXPECT_EQ(Blamed(Median, [](C& c) { c.max_workers = 0; }), "max_workers");
  EXPECT_EQ(Blamed(ByWorker, [](C& c) { c.max_workers = 0; }), "max_workers");
  EXPECT_EQ(Blamed(Median, [](C& c) { c.max_workers = 4097; }), "max_workers");
  EXPECT_EQ(Blamed(Median, [](C& c) { c.max_workers = 4096; }), "");
}

TEST(AggregationConfigTest, AFieldWithoutAGoodDefaultIsNeededByWhatUsesIt) {
  const struct {
    const char* field;
    Base base;
    const char* by;
  } rows[] = {
      {"close_count", ByCount, "close COUNT"},
      {"close_weight", ByWeight, "close WEIGHT"},
      {"close_seconds", ByDeadline, "close DEADLINE"},
      {"trim_fraction", Trimmed, "reduction TRIMMED_MEAN"},
      {"max_workers", Trimmed, "reduction TRIMMED_MEAN"},
      {"max_workers", Median, "reduction MEDIAN"},
      {"max_workers", ByWorker, "reduce_order BY_WORKER"},
  };
  for (const FieldInfo& field : ConfigOf<C>().Fields()) {
    EXPECT_EQ(C().NeededBy(field.name), "") << field.name;
    for (const Base base :
         {Synchronous, Bounded, ByCount, ByWeight, ByDeadline, Trimmed, Median, ByWorker}) {
      std::string expected;
      for (const auto& row : rows) {
        if (row.field == field.name && row.base == base) expected = row.by;
      }
      EXPECT_EQ(Make(base, nullptr).NeededBy(field.name), expected) << field.name;
    }
  }
}

TEST(AggregationConfigTest, ATrimmedMeanMayTrimNothing) {
  EXPECT_EQ(Blamed(Trimmed, [](C& c) { c.trim_fraction = 0; }), "");
}

TEST(AggregationConfigTest, AReductionWithoutWeightsCannotCloseByThem) {
  EXPECT_EQ(Blamed(ByWeight,
                   [](C& c) {
                     c.reduction = Reduction::kMedian;
                     c.max_workers = 16;
                   }),
            "close");
  EXPECT_EQ(Blamed(ByWeight,
                   [](C& c) {
                     c.reduce_order = ReduceOrder::kByWorker;
                     c.max_workers = 16;
                   }),
            "");
}

TEST(AggregationConfigTest, ByWorkerIsForMeans) {
  EXPECT_EQ(Blamed(Median, ByWorker), "reduce_order");
  EXPECT_EQ(Blamed(Trimmed, ByWorker), "reduce_order");
}

TEST(AggregationConfigTest, NoMoreWorkersAreAskedForThanThereMayBe) {
  EXPECT_EQ(Blamed(ByCount, [](C& c) { c.max_workers = 2; }), "close_count");
  EXPECT_EQ(Blamed(ByCount, [](C& c) { c.max_workers = 3; }), "");
  EXPECT_EQ(Blamed(Synchronous,
                   [](C& c) {
                     c.max_workers = 3;
                     c.min_workers = 4;
                   }),
            "min_workers");
}

TEST(AggregationConfigTest, StaleScaleNeedsStalenessAndWeightsAndCompany) {
  const auto scaled = [](C& c) { c.stale_scale = StaleScale::kInverse; };
  const auto stale = [&](C& c) {
    scaled(c);
    c.max_staleness = 4;
  };
  EXPECT_EQ(Blamed(Synchronous, scaled), "stale_scale");
  EXPECT_EQ(Blamed(Synchronous, stale), "");
  EXPECT_EQ(Blamed(Median, stale), "stale_scale");
  EXPECT_EQ(Blamed(nullptr, stale), "stale_scale");  // the mean of one is itself
  EXPECT_EQ(Blamed([](C& c) { c.gradient_accumulation_steps = 4; }, stale), "");
}

TEST(AggregationConfigTest, ACombinationThatWouldStarveSlowWorkersIsRefused) {
  // While one worker takes a gradient, each of the others makes a version, or with bounded
  // staleness up to 2 s + 1.
  const auto with = [](uint64_t staleness, uint64_t workers, uint64_t ahead = 0) {
    return [=](C& c) {
      c.max_staleness = staleness;
      c.max_workers = workers;
      c.max_rounds_ahead = ahead;
    };
  };
  EXPECT_EQ(Blamed(nullptr, with(2, 4)), "max_staleness");
  EXPECT_EQ(Blamed(nullptr, with(3, 4)), "");
  EXPECT_EQ(Blamed(nullptr, with(0, 1)), "");
  // How many come is not known then.
  EXPECT_EQ(Blamed(nullptr, with(0, 0)), "");
  const auto accumulated = [](C& c) { c.gradient_accumulation_steps = 4; };
  EXPECT_EQ(Blamed(accumulated, with(0, 1)), "");
  EXPECT_EQ(Blamed(accumulated, with(0, 2)), "max_staleness");
  EXPECT_EQ(Blamed(accumulated, with(1, 5)), "");
  EXPECT_EQ(Blamed(accumulated, with(1, 6)), "max_staleness");
  EXPECT_EQ(Blamed(accumulated, with(2, 6)), "");
  EXPECT_EQ(Blamed(Bounded, with(14, 4, 2)), "max_staleness");
  EXPECT_EQ(Blamed(Bounded, with(15, 4, 2)), "");
  EXPECT_EQ(Blamed(Bounded, with(0, 4, 2)), "");  // no limit
  EXPECT_EQ(Blamed(Bounded, with(1, 0, 0)), "max_staleness");
  EXPECT_EQ(Blamed(Bounded, with(131071, 0, 0)), "");
  EXPECT_THAT(std::string(Make(Bounded, with(14, 4, 2)).Validate().message()),
              HasSubstr("at least 15"));
}

TEST(AggregationConfigTest, AProgressDeadlineIsNotSoShortThatTimersWouldNeverRest) {
  EXPECT_EQ(Blamed(Synchronous, [](C& c) { c.progress_seconds = 1e-12; }), "progress_seconds");
  EXPECT_EQ(Blamed(Synchronous, [](C& c) { c.progress_seconds = 0.099; }), "progress_seconds");
  EXPECT_EQ(Blamed(Synchronous, [](C& c) { c.progress_seconds = 0.1; }), "");
}

TEST(AggregationConfigTest, ErrorsSayWhereAFieldIsUsed) {
  const absl::Status status = Make(Synchronous, [](C& c) { c.max_rounds_ahead = 1; }).Validate();
  EXPECT_EQ(status.message(), "max_rounds_ahead is used only with mode BOUNDED_STALENESS");
  EXPECT_EQ(Make(ByWeight, [](C& c) { c.close_weight = 0; }).Validate().message(),
            "close_weight is 0, allowed with close WEIGHT: > 0");
}

TEST(AggregationConfigTest, RangesAreThoseOfTheTable) {
  const struct {
    const char* field;
    FieldValue value;
    bool taken;
  } rows[] = {
      {"lease_seconds", uint64_t{0}, false},
      {"lease_seconds", uint64_t{86401}, false},
      {"gradient_accumulation_steps", uint64_t{0}, false},
      {"gradient_accumulation_steps", uint64_t{65537}, false},
      {"close_count", uint64_t{131073}, false},
      {"close_weight", -1.0, false},
      {"close_seconds", 86400.5, false},
      {"min_workers", uint64_t{0}, false},
      {"progress_seconds", -0.5, false},
      {"trim_fraction", 0.5, false},
      {"max_workers", uint64_t{131073}, false},
      {"max_workers", uint64_t{131072}, true},
      {"mode", Choice{"SYNCHRONOUS"}, true},
      {"mode", Choice{"SYNC"}, false},
      {"close", Choice{"DEADLINE"}, true},
      {"too_few", Choice{"CLOSE"}, true},
      {"reduction", Choice{"TRIMMED_MEAN"}, true},
      {"reduce_order", Choice{"BY_WORKER"}, true},
      {"stale_scale", Choice{"INVERSE"}, true},
  };
  for (const auto& row : rows) {
    ConfigOf<C> config;
    EXPECT_EQ(config.Set(row.field, row.value).ok(), row.taken)
        << row.field << " " << FieldValueText(row.value);
  }
}

TEST(AggregationConfigTest, ModeReductionAndOrderAreFixed) {
  for (const FieldInfo& field : ConfigOf<C>().Fields()) {
    const bool fixed =
        field.name == "mode" || field.name == "reduction" || field.name == "reduce_order";
    EXPECT_EQ(field.change == Change::kFixed, fixed) << field.name;
  }
}

TEST(AggregationConfigTest, ARoundCostsItsAccumulatorsOrEveryContribution) {
  EXPECT_EQ(Make(Synchronous, nullptr).RoundBytes(1000), 20000u);
  EXPECT_EQ(Make([](C& c) { c.gradient_accumulation_steps = 2; }, nullptr).RoundBytes(1000),
            20000u);
  EXPECT_EQ(Make(Bounded, nullptr).RoundBytes(1000), 0u);
  EXPECT_EQ(Make(Median, nullptr).RoundBytes(1000), 4000u * 17);
  EXPECT_EQ(Make(ByWorker, nullptr).RoundBytes(1000), 4000u * 17);
}

TEST(AggregationConfigTest, WhoseRepliesWait) {
  EXPECT_FALSE(C().replies_wait());
  EXPECT_TRUE(Make(Synchronous, nullptr).replies_wait());
  EXPECT_TRUE(Make(Bounded, nullptr).replies_wait());
  EXPECT_FALSE(Make(Median, nullptr).takes_weights());
  EXPECT_TRUE(Make(ByWorker, nullptr).takes_weights());
}

}  // namespace
}  // namespace talweg::core
