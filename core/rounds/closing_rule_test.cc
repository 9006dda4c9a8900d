// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/closing_rule.h"

#include <string>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

AggregationConfig Rule(CloseRule close) {
  AggregationConfig config;
  config.mode = AggregationMode::kSynchronous;
  config.close = close;
  return config;
}

class ClosingRuleTest : public ::testing::Test {
 protected:
  ClosingRuleTest() {
    for (const char* name : {"a", "b"}) workers_[workers_.Insert(name)].live = true;
  }
  void Contribute(const std::string& name, float weight = 1) {
    const uint32_t index = workers_.Find(name);
    Contribution contribution;
    contribution.worker = name;
    expectations_.Contributed(workers_[index], 1);
    round_.Add(index, contribution, weight, 0, Reduction::kMean, kNow);
  }
  void Freeze() { expectations_.Freeze(round_, workers_, workers_.size(), kNow); }
  bool Closes(const AggregationConfig& config, absl::Time now = kNow) const {
    return MustClose(config, round_, expectations_, now);
  }

  Workers workers_;
  OpenRound round_;
  Expectations expectations_;
};

TEST_F(ClosingRuleTest, ARoundWithoutContributionsNeverCloses) {
  AggregationConfig config = Rule(CloseRule::kAll);
  EXPECT_FALSE(Closes(config));
  config.mode = AggregationMode::kBoundedStaleness;
  EXPECT_FALSE(Closes(config));
  EXPECT_FALSE(MayFreeze(Rule(CloseRule::kAll), round_, expectations_, 1, 2));
}

TEST_F(ClosingRuleTest, TheFirstVersionWaitsForEnoughLiveWorkers) {
  Contribute("a");
  AggregationConfig config = Rule(CloseRule::kAll);
  config.min_workers = 3;
  EXPECT_FALSE(MayFreeze(config, round_, expectations_, 0, 2));
  EXPECT_TRUE(MayFreeze(config, round_, expectations_, 0, 3));
  EXPECT_TRUE(MayFreeze(config, round_, expectations_, 1, 2));
  Freeze();
  EXPECT_FALSE(MayFreeze(config, round_, expectations_, 1, 2));  // once
}

TEST_F(ClosingRuleTest, AllWaitsForEveryWorkerThatIsExpected) {
  Contribute("a");
  Freeze();
  EXPECT_FALSE(Closes(Rule(CloseRule::kAll)));
  Contribute("b");
  EXPECT_TRUE(Closes(Rule(CloseRule::kAll)));
}

TEST_F(ClosingRuleTest, CountAndWeightWaitOrCloseWithFewer) {
  Contribute("a", 2);
  Freeze();
  AggregationConfig count = Rule(CloseRule::kCount);
  count.close_count = 1;
  EXPECT_TRUE(Closes(count));
  count.close_count = 2;
  EXPECT_FALSE(Closes(count));
  AggregationConfig weight = Rule(CloseRule::kWeight);
  weight.close_weight = 2;
  EXPECT_TRUE(Closes(weight));
  weight.close_weight = 3;
  EXPECT_FALSE(Closes(weight));
  expectations_.Gone(workers_[workers_.Find("b")], /*expired=*/false);
  EXPECT_FALSE(Closes(count));
  EXPECT_FALSE(Closes(weight));
  count.too_few = weight.too_few = TooFew::kClose;
  EXPECT_TRUE(Closes(count));
  EXPECT_TRUE(Closes(weight));
}

TEST_F(ClosingRuleTest, ADeadlineCountsFromTheFirstContribution) {
  AggregationConfig config = Rule(CloseRule::kDeadline);
  config.close_seconds = 5;
  Contribute("a");
  EXPECT_EQ(CloseDeadline(config, round_, expectations_), absl::InfiniteFuture());
  Freeze();
  EXPECT_EQ(CloseDeadline(config, round_, expectations_), kNow + absl::Seconds(5));
  EXPECT_FALSE(Closes(config, kNow + absl::Seconds(4)));
  EXPECT_TRUE(Closes(config, kNow + absl::Seconds(5)));
}

TEST_F(ClosingRuleTest, OtherModesCountContributions) {
  Contribute("a");
  AggregationConfig config;
  EXPECT_TRUE(Closes(config));
  config.gradient_accumulation_steps = 2;
  EXPECT_FALSE(Closes(config));
  config.mode = AggregationMode::kBoundedStaleness;
  EXPECT_TRUE(Closes(config));
}

TEST_F(ClosingRuleTest, OnlyTheClosingRuleOfAnotherPolicyIsTaken) {
  AggregationConfig base = Rule(CloseRule::kAll);
  base.lease_seconds = 7;
  AggregationConfig other = Rule(CloseRule::kCount);
  other.close_count = 3;
  other.too_few = TooFew::kClose;
  other.min_workers = 2;
  other.progress_seconds = 4;
  other.max_staleness = 9;
  EXPECT_FALSE(SameClosingRule(base, other));
  const AggregationConfig changed = WithClosingRule(base, other);
  EXPECT_TRUE(SameClosingRule(changed, other));
  EXPECT_EQ(changed.close_count, 3u);
  EXPECT_EQ(changed.progress_seconds, 4);
  EXPECT_EQ(changed.lease_seconds, 7u);
  EXPECT_EQ(changed.max_staleness, 0u);
}

}  // namespace
}  // namespace talweg::core
