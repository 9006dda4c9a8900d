// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/open_round.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

TEST(OpenRoundTest, AddsUpWhatItIsMadeOf) {
  OpenRound round;
  Contribution first;
  first.worker = "a";
  first.digest = 9;
  round.Add(3, first, 0.5f, 2, Reduction::kMean, kNow);
  round.Add(4, first, 0.25f, 1, Reduction::kMean, kNow + absl::Seconds(1));
  EXPECT_EQ(round.first, kNow);
  EXPECT_EQ(round.weight.Value(), 0.75);
  EXPECT_EQ(round.staleness, 2u);
  ASSERT_EQ(round.members.size(), 2u);
  EXPECT_EQ(round.members[1].time, kNow + absl::Seconds(1));
  EXPECT_EQ(round.places[0].index, 3u);
  EXPECT_EQ(round.places[0].digest, 9u);
  EXPECT_FALSE(round.loss.Value({}).loss.has_value());
}

TEST(OpenRoundTest, AStaleContributionCountsLess) {
  AggregationConfig config;
  Contribution contribution;
  contribution.weight = 6;
  EXPECT_EQ(OpenRound::WeightOf(contribution, 2, config), 6);
  config.stale_scale = StaleScale::kInverse;
  EXPECT_EQ(OpenRound::WeightOf(contribution, 2, config), 2);
  contribution.weight = std::numeric_limits<float>::denorm_min();
  EXPECT_GT(OpenRound::WeightOf(contribution, 9, config), 0);  // never nothing
}

TEST(OpenRoundTest, PlacesAreAsManyAsMayBeStaged) {
  AggregationConfig config;
  config.mode = AggregationMode::kSynchronous;
  config.reduction = Reduction::kMedian;
  config.max_workers = 1;
  OpenRound round;
  EXPECT_FALSE(round.IsFull(config));
  round.Add(0, Contribution{}, 1, 0, Reduction::kMean, kNow);
  EXPECT_TRUE(round.IsFull(config));
  config.reduction = Reduction::kMean;
  EXPECT_FALSE(round.IsFull(config));
}

TEST(OpenRoundTest, BystandersThatLeftOrComeOftenAreForgotten) {
  Workers workers;
  const uint32_t a = workers.Insert("a");
  const uint32_t b = workers.Insert("b");
  workers[a].incarnation = 1;
  workers[b].incarnation = 2;
  OpenRound round;
  round.AddBystander(b, workers);
  workers[b].incarnation = 3;
  for (int time = 0; time < 100; ++time) round.AddBystander(a, workers);
  EXPECT_LE(round.bystanders.size(), 22u);
  EXPECT_EQ(round.bystanders.back().index, a);
}

}  // namespace
}  // namespace talweg::core
