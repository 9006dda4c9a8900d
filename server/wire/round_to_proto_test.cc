// SPDX-License-Identifier: Apache-2.0
#include "server/wire/round_to_proto.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;

TEST(RoundToProtoTest, TellsASynchronousRoundWhole) {
  core::RoundDescription round;
  round.version = 7;
  round.mode = core::AggregationMode::kSynchronous;
  round.open_for = absl::Milliseconds(2500);
  round.frozen_for = absl::Milliseconds(1500);
  round.contributed = {1, {"a"}};
  round.expected = {2, {"b", "c"}};
  round.late = {40, {"d"}};
  round.will_not_count = {2, {"a", "e"}};
  round.close = core::CloseRule::kCount;
  round.too_few = core::TooFew::kClose;
  round.config_version = 3;
  round.num_contributions = 1;
  round.needed_contributions = 4;
  round.weight = 0.5;
  round.needed_weight = 8;
  round.closes_in = absl::Seconds(9);
  round.num_live_workers = 5;
  round.needed_live_workers = 6;
  const v1::OpenRound proto = RoundToProto(round);
  EXPECT_EQ(proto.version(), 7u);
  EXPECT_EQ(proto.open_seconds(), 2.5);
  EXPECT_EQ(proto.frozen_seconds(), 1.5);
  EXPECT_EQ(proto.contributed().count(), 1u);
  EXPECT_THAT(proto.contributed().names(), ElementsAre("a"));
  EXPECT_THAT(proto.expected().names(), ElementsAre("b", "c"));
  EXPECT_EQ(proto.late().count(), 40u);
  EXPECT_THAT(proto.late().names(), ElementsAre("d"));
  EXPECT_EQ(proto.will_not_count().count(), 2u);
  EXPECT_THAT(proto.will_not_count().names(), ElementsAre("a", "e"));
  EXPECT_EQ(proto.close(), v1::CLOSE_RULE_COUNT);
  EXPECT_EQ(proto.too_few(), v1::TOO_FEW_CLOSE);
  EXPECT_EQ(proto.close_config_version(), 3u);
  EXPECT_EQ(proto.num_contributions(), 1u);
  EXPECT_EQ(proto.needed_contributions(), 4u);
  EXPECT_EQ(proto.weight(), 0.5);
  EXPECT_EQ(proto.needed_weight(), 8);
  EXPECT_EQ(proto.closes_in_seconds(), 9);
  EXPECT_EQ(proto.num_live_workers(), 5u);
  EXPECT_EQ(proto.needed_live_workers(), 6u);
}

TEST(RoundToProtoTest, EveryClosingRuleHasItsName) {
  core::RoundDescription round;
  round.mode = core::AggregationMode::kSynchronous;
  EXPECT_EQ(RoundToProto(round).close(), v1::CLOSE_RULE_ALL);
  EXPECT_EQ(RoundToProto(round).too_few(), v1::TOO_FEW_UNSPECIFIED);
  round.close = core::CloseRule::kWeight;
  EXPECT_EQ(RoundToProto(round).close(), v1::CLOSE_RULE_WEIGHT);
  EXPECT_EQ(RoundToProto(round).too_few(), v1::TOO_FEW_WAIT);
  round.close = core::CloseRule::kDeadline;
  EXPECT_EQ(RoundToProto(round).close(), v1::CLOSE_RULE_DEADLINE);
}

TEST(RoundToProtoTest, OtherModesHaveNoClosingRuleAndWhatIsNotKnownIsUnset) {
  const v1::OpenRound proto = RoundToProto(core::RoundDescription{});
  EXPECT_EQ(proto.close(), v1::CLOSE_RULE_UNSPECIFIED);
  EXPECT_EQ(proto.too_few(), v1::TOO_FEW_UNSPECIFIED);
  EXPECT_FALSE(proto.has_open_seconds());
  EXPECT_FALSE(proto.has_frozen_seconds());
  EXPECT_FALSE(proto.has_closes_in_seconds());
}

}  // namespace
}  // namespace talweg::server
