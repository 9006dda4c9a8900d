// SPDX-License-Identifier: Apache-2.0
//
// Which policies of search are allowed, and what follows from one.
#include "core/search/search_config.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using C = SearchConfig;

SearchConfig Of(SearchMethod method, const std::function<void(C&)>& set = nullptr) {
  SearchConfig config;
  config.method = method;
  if (set != nullptr) set(config);
  return config;
}
SearchConfig Strategy(const std::function<void(C&)>& set = nullptr) {
  return Of(SearchMethod::kEvolutionStrategy, set);
}
SearchConfig RandomSearch(const std::function<void(C&)>& set = nullptr) {
  return Of(SearchMethod::kRandomSearch, set);
}

// The field that Validate names; empty if the policy is valid.
std::string Refused(const SearchConfig& config) {
  const absl::Status status = config.Validate();
  if (status.ok()) return "";
  EXPECT_EQ(ReasonName(status), "FIELD_OUT_OF_RANGE") << status;
  EXPECT_FALSE(FieldName(status).empty()) << status;
  return FieldName(status);
}

TEST(SearchConfigTest, DefaultsOfEveryMethodAreValid) {
  EXPECT_EQ(Refused(C()), "");
  EXPECT_EQ(Refused(Strategy()), "");
  EXPECT_EQ(Refused(RandomSearch()), "");
  EXPECT_EQ(Refused(RandomSearch([](C& c) { c.acceptance = Acceptance::kLossWeighted; })), "");
}

// Each field set to something else than its default.
std::vector<std::pair<std::string, std::function<void(C&)>>> Settings() {
  return {{"seed", [](C& c) { c.seed = 1; }},
          {"noise", [](C& c) { c.noise = SearchNoise::kRademacher; }},
          {"perturbation",
           [](C& c) {
             c.perturbation = PerturbationKind::kLowRank;
             c.rank = 2;
           }},
          {"rank", [](C& c) { c.rank = 1; }},
          {"num_pairs", [](C& c) { c.num_pairs = 7; }},
          {"sigma", [](C& c) { c.sigma = 0.5; }},
          {"sigma_decay", [](C& c) { c.sigma_decay = 0.5; }},
          {"sigma_limit", [](C& c) { c.sigma_limit = 0.001; }},
          {"differences", [](C& c) { c.differences = Differences::kDirectional; }},
          {"baseline", [](C& c) { c.baseline = Baseline::kMean; }},
          {"acceptance", [](C& c) { c.acceptance = Acceptance::kLossWeighted; }},
          {"shaping", [](C& c) { c.shaping = Shaping::kZScore; }},
          {"direction", [](C& c) { c.direction = Direction::kMaximize; }},
          {"close",
           [](C& c) {
             c.close = GenerationClose::kCount;
             c.close_pairs = 1;
           }},
          {"close_pairs", [](C& c) { c.close_pairs = 1; }},
          {"close_seconds", [](C& c) { c.close_seconds = 1; }},
          {"evaluation_seconds", [](C& c) { c.evaluation_seconds = 1; }},
          {"max_failures", [](C& c) { c.max_failures = 1; }},
          {"max_lost_leases", [](C& c) { c.max_lost_leases = 1; }},
          {"non_finite", [](C& c) { c.non_finite = NonFinitePolicy::kRetry; }},
          {"evaluate_every", [](C& c) { c.evaluate_every = 1; }},
          {"max_generations", [](C& c) { c.max_generations = 1; }}};
}

TEST(SearchConfigTest, NothingButTheScaleMayBeSetWithoutAMethod) {
  size_t num_fields = 0;
  std::apply([&](const auto&... field) { num_fields = sizeof...(field); }, C::Fields());
  ASSERT_EQ(Settings().size(), num_fields - 2) << "neither the method nor the scale";
  for (const auto& [field, set] : Settings()) {
    EXPECT_EQ(Refused(Of(SearchMethod::kNone, set)), field);
  }
  // Its default depends on the rule on top.
  EXPECT_EQ(Refused(Of(SearchMethod::kNone, [](C& c) { c.scale = EstimateScale::kGradient; })), "");
}

// The fields that are refused with defaults otherwise.
void ExpectUnused(const std::function<SearchConfig(const std::function<void(C&)>&)>& make,
                  const std::vector<std::string>& unused) {
  for (const auto& [field, set] : Settings()) {
    const bool is_unused = std::count(unused.begin(), unused.end(), field) > 0;
    EXPECT_EQ(Refused(make(set)), is_unused ? field : "") << field;
  }
}

TEST(SearchConfigTest, AStrategyUsesNoFieldOfRandomSearch) {
  ExpectUnused([](const auto& set) { return Strategy(set); },
               {"rank", "baseline", "acceptance", "close_pairs", "close_seconds"});
}

TEST(SearchConfigTest, RandomSearchThatKeepsTheBestWeighsNothing) {
  ExpectUnused([](const auto& set) { return RandomSearch(set); },
               {"rank", "differences", "baseline", "shaping", "close_pairs", "close_seconds",
                "evaluate_every"});
}

TEST(SearchConfigTest, RandomSearchThatWeighsUsesABaselineAndShaping) {
  ExpectUnused(
      [](const auto& set) {
        return RandomSearch([&](C& c) {
          c.acceptance = Acceptance::kLossWeighted;
          set(c);
        });
      },
      {"rank", "differences", "close_pairs", "close_seconds"});
}

TEST(SearchConfigTest, DerivativesAreNotShapedAndHaveNoBaseline) {
  ExpectUnused(
      [](const auto& set) {
        return Strategy([&](C& c) {
          c.differences = Differences::kDirectional;
          set(c);
        });
      },
      {"rank", "baseline", "acceptance", "shaping", "close_pairs", "close_seconds"});
}

TEST(SearchConfigTest, WhatContradictsIsRefused) {
  const struct {
    const char* field;
    SearchConfig config;
  } rows[] = {
      {"rank", Strategy([](C& c) { c.perturbation = PerturbationKind::kLowRank; })},
      {"close_pairs", Strategy([](C& c) { c.close = GenerationClose::kCount; })},
      {"close_pairs", Strategy([](C& c) {
         c.close = GenerationClose::kCount;
         c.num_pairs = 4;
         c.close_pairs = 5;
       })},
      {"close_seconds", Strategy([](C& c) { c.close = GenerationClose::kDeadline; })},
      {"sigma", Strategy([](C& c) { c.sigma = 1e-60; })},
      {"non_finite", Strategy([](C& c) { c.non_finite = NonFinitePolicy::kWorst; })},
      {"non_finite", Strategy([](C& c) {
         c.non_finite = NonFinitePolicy::kWorst;
         c.shaping = Shaping::kZScore;
       })},
      {"num_pairs", Strategy([](C& c) {
         c.num_pairs = 1;
         c.differences = Differences::kOneSided;
         c.baseline = Baseline::kMean;
       })},
      {"num_pairs", RandomSearch([](C& c) {
         c.num_pairs = 1;
         c.acceptance = Acceptance::kLossWeighted;
         c.shaping = Shaping::kCenteredRanks;
       })},
      {"evaluate_every", Strategy([](C& c) {
         c.differences = Differences::kOneSided;
         c.baseline = Baseline::kEvaluated;
         c.evaluate_every = 1;
       })},
  };
  for (const auto& row : rows) EXPECT_EQ(Refused(row.config), row.field);
  EXPECT_EQ(Refused(Strategy([](C& c) {
              c.close = GenerationClose::kCount;
              c.num_pairs = c.close_pairs = 4;
            })),
            "");
  EXPECT_EQ(Refused(Strategy([](C& c) {
              c.sigma = 1e-60;
              c.sigma_limit = 1e-30;
            })),
            "");
  EXPECT_EQ(Refused(Strategy([](C& c) {
              c.non_finite = NonFinitePolicy::kWorst;
              c.shaping = Shaping::kCenteredRanks;
            })),
            "");
}

TEST(SearchConfigTest, FieldsHaveTheirRanges) {
  ConfigOf<SearchConfig> config;
  const struct {
    const char* field;
    std::vector<FieldValue> good, bad;
  } rows[] = {
      {"seed", {uint64_t{0}, (uint64_t{1} << 53) - 1}, {uint64_t{1} << 53}},
      {"rank", {uint64_t{64}}, {uint64_t{65}}},
      {"num_pairs", {uint64_t{1}, uint64_t{131072}}, {uint64_t{0}, uint64_t{131073}}},
      {"sigma", {1e-30, 1e30}, {0.0, -1.0, 2e30, std::nan(""), double{HUGE_VAL}}},
      {"sigma_decay", {1e-9, 1.0}, {0.0, 1.5, std::nan("")}},
      {"sigma_limit", {0.0, 1e30}, {-1e-9, 2e30}},
      {"close_pairs", {uint64_t{0}, uint64_t{131072}}, {uint64_t{131073}}},
      {"close_seconds", {0.0, 86400.0}, {-1.0, 86401.0}},
      {"evaluation_seconds", {0.05, 86400.0}, {0.0, 0.04, 86401.0}},
      {"max_failures", {uint64_t{1}, uint64_t{1000}}, {uint64_t{0}, uint64_t{1001}}},
      {"max_lost_leases", {uint64_t{1}, uint64_t{1000}}, {uint64_t{0}, uint64_t{1001}}},
      {"evaluate_every", {uint64_t{1'000'000'000}}, {uint64_t{1'000'000'001}}},
      {"max_generations", {uint64_t{1'000'000'000}}, {uint64_t{1'000'000'001}}},
  };
  for (const auto& row : rows) {
    for (const FieldValue& value : row.good) {
      EXPECT_TRUE(config.Set(row.field, value).ok()) << row.field << FieldValueText(value);
    }
    for (const FieldValue& value : row.bad) {
      EXPECT_FALSE(config.Set(row.field, value).ok()) << row.field << FieldValueText(value);
    }
  }
}

TEST(SearchConfigTest, SaysWhatNoDefaultIsAGoodGuessFor) {
  const auto one_sided = Strategy([](C& c) { c.differences = Differences::kOneSided; });
  EXPECT_EQ(one_sided.NeededBy("baseline"), "differences ONE_SIDED");
  EXPECT_EQ(Strategy().NeededBy("baseline"), "");
  EXPECT_EQ(RandomSearch().NeededBy("baseline"), "");
  EXPECT_EQ(
      RandomSearch([](C& c) { c.acceptance = Acceptance::kLossWeighted; }).NeededBy("baseline"),
      "acceptance LOSS_WEIGHTED");
  EXPECT_EQ(Strategy([](C& c) { c.close = GenerationClose::kCount; }).NeededBy("close_pairs"),
            "close COUNT");
  EXPECT_EQ(Strategy([](C& c) { c.close = GenerationClose::kDeadline; }).NeededBy("close_seconds"),
            "close DEADLINE");
  EXPECT_EQ(Strategy([](C& c) { c.perturbation = PerturbationKind::kLowRank; }).NeededBy("rank"),
            "perturbation LOW_RANK");
  for (const Shaping shaping : {Shaping::kNone, Shaping::kCenteredRanks, Shaping::kZScore}) {
    for (const EstimateScale scale : {EstimateScale::kTutorial, EstimateScale::kGradient}) {
      const auto shaped = Strategy([&](C& c) {
        c.shaping = shaping;
        c.scale = scale;
      });
      EXPECT_EQ(shaped.NeededBy("scale").empty(),
                shaping == Shaping::kNone || scale == EstimateScale::kGradient);
    }
  }
  // Shaping is what is wrong there.
  const auto keeps = RandomSearch([](C& c) { c.shaping = Shaping::kZScore; });
  EXPECT_EQ(keeps.NeededBy("scale"), "");
  EXPECT_EQ(Refused(keeps), "shaping");
  EXPECT_EQ(Strategy().NeededBy("no such field"), "");
}

TEST(SearchConfigTest, SigmaDecaysWithTheVersionDownToItsLimit) {
  const auto config = Strategy([](C& c) {
    c.sigma = 0.5;
    c.sigma_decay = 0.5;
    c.sigma_limit = 0.05;
  });
  EXPECT_EQ(config.SigmaAt(0), 0.5f);
  EXPECT_EQ(config.SigmaAt(1), 0.25f);
  EXPECT_EQ(config.SigmaAt(3), 0.0625f);
  EXPECT_EQ(config.SigmaAt(4), 0.05f);
  EXPECT_EQ(config.SigmaAt(uint64_t{1} << 60), 0.05f);
  // An estimate is divided by it: it never falls to 0, which the power does.
  for (const double decay : {0.5, 0.9, 0.99}) {
    const auto falling = Strategy([&](C& c) { c.sigma_decay = decay; });
    EXPECT_EQ(falling.SigmaAt(uint64_t{1} << 40), 0x1p-126f) << decay;
  }
  // Rounded once, from a power by repeated squaring.
  const auto slow = Strategy([](C& c) { c.sigma_decay = 0.9; });
  const double square = 0.9 * 0.9;
  EXPECT_EQ(slow.SigmaAt(5), static_cast<float>(0.01 * (0.9 * (square * square))));
}

TEST(SearchConfigTest, WhatIsToldOfAPairFollowsFromTheMethod) {
  EXPECT_EQ(Strategy().losses_per_pair(), 2u);
  EXPECT_EQ(Strategy([](C& c) { c.differences = Differences::kOneSided; }).losses_per_pair(), 1u);
  EXPECT_EQ(Strategy([](C& c) { c.differences = Differences::kDirectional; }).losses_per_pair(),
            1u);
  EXPECT_EQ(RandomSearch().losses_per_pair(), 1u);
  EXPECT_EQ(RandomSearch().told_differences(), Differences::kOneSided);
}

TEST(SearchConfigTest, TheParametersAreEvaluatedWhereTheMethodNeedsItOrSoOften) {
  EXPECT_TRUE(RandomSearch().evaluates(7));
  EXPECT_FALSE(RandomSearch([](C& c) { c.acceptance = Acceptance::kLossWeighted; }).evaluates(7));
  const auto baseline = Strategy([](C& c) {
    c.differences = Differences::kOneSided;
    c.baseline = Baseline::kEvaluated;
  });
  EXPECT_TRUE(baseline.needs_evaluation() && baseline.evaluates(7));
  const auto monitored = Strategy([](C& c) { c.evaluate_every = 3; });
  EXPECT_FALSE(monitored.needs_evaluation());
  EXPECT_TRUE(monitored.evaluates(0) && monitored.evaluates(3));
  EXPECT_FALSE(monitored.evaluates(1));
}

TEST(SearchConfigTest, MemoryIsThatOfTwoGenerationsAndTheRecords) {
  EXPECT_EQ(C().MemoryBytes(), 0u);
  const uint64_t one = Strategy([](C& c) { c.num_pairs = 1000; }).MemoryBytes();
  const uint64_t two = Strategy([](C& c) { c.num_pairs = 2000; }).MemoryBytes();
  EXPECT_GE(two - one, 2 * 1000 * (2 * sizeof(double) + 8));  // losses and states, twice
  EXPECT_GE(one, C::kRecordBytes);
}

}  // namespace
}  // namespace talweg::core
