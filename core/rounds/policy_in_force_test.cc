// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/policy_in_force.h"

#include "core/rounds/rounds_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

// Rounds close with `count` contributions.
Configure Counting(uint64_t count, uint64_t max_staleness, uint64_t config_version) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = count;
  aggregation.max_staleness = max_staleness;
  return {RateOf(0.1), aggregation, config_version};
}

TEST(PolicyInForceTest, ItBeginsWithItsConfiguration) {
  PolicyInForce policy(Counting(3, 1, 7));
  EXPECT_EQ(policy.configuration().config_version, 7u);
  EXPECT_EQ(policy.close_config_version(), 7u);
  EXPECT_EQ(policy.closing().close_count, 3u);
  EXPECT_FALSE(policy.bounded());
  EXPECT_FALSE(policy.BeginNextVersion());
}

TEST(PolicyInForceTest, WithoutAnOpenRoundEverythingHoldsAtOnce) {
  PolicyInForce policy(Counting(3, 1, 7));
  EXPECT_TRUE(policy.Accept(Counting(2, 5, 8), /*round_is_open=*/false));
  EXPECT_EQ(policy.aggregation().max_staleness, 5u);
  EXPECT_EQ(policy.closing().close_count, 2u);
  EXPECT_EQ(policy.close_config_version(), 8u);
  EXPECT_FALSE(policy.BeginNextVersion());
}

TEST(PolicyInForceTest, OnlyTheClosingRuleHoldsForTheOpenRound) {
  PolicyInForce policy(Counting(3, 1, 7));
  EXPECT_TRUE(policy.Accept(Counting(2, 5, 8), /*round_is_open=*/true));
  EXPECT_EQ(policy.configuration().config_version, 7u);
  EXPECT_EQ(policy.aggregation().close_count, 3u);
  EXPECT_EQ(policy.aggregation().max_staleness, 1u);
  EXPECT_EQ(policy.closing().close_count, 2u);
  EXPECT_EQ(policy.closing().max_staleness, 1u);
  EXPECT_EQ(policy.close_config_version(), 8u);
  EXPECT_TRUE(policy.BeginNextVersion());
  EXPECT_EQ(policy.configuration().config_version, 8u);
  EXPECT_EQ(policy.aggregation().max_staleness, 5u);
  EXPECT_FALSE(policy.BeginNextVersion());
}

TEST(PolicyInForceTest, ARuleThatStaysKeepsTheConfigurationThatItCameFrom) {
  PolicyInForce policy(Counting(3, 1, 7));
  EXPECT_FALSE(policy.Accept(Counting(3, 5, 8), /*round_is_open=*/true));
  EXPECT_EQ(policy.close_config_version(), 7u);
  EXPECT_TRUE(policy.BeginNextVersion());
  EXPECT_EQ(policy.close_config_version(), 8u);
}

TEST(PolicyInForceTest, OfSeveralThatWaitTheLastOneIsNext) {
  PolicyInForce policy(Counting(3, 1, 7));
  policy.Accept(Counting(3, 5, 8), /*round_is_open=*/true);
  policy.Accept(Counting(3, 6, 9), /*round_is_open=*/true);
  EXPECT_TRUE(policy.BeginNextVersion());
  EXPECT_EQ(policy.configuration().config_version, 9u);
  EXPECT_EQ(policy.aggregation().max_staleness, 6u);
  policy.Accept(Counting(3, 2, 10), /*round_is_open=*/true);
  policy.Accept(Counting(3, 4, 11), /*round_is_open=*/false);  // It replaces the one that waits.
  EXPECT_FALSE(policy.BeginNextVersion());
  EXPECT_EQ(policy.aggregation().max_staleness, 4u);
}

}  // namespace
}  // namespace talweg::core
