// SPDX-License-Identifier: Apache-2.0
//
// What the open round waits for, as a person is told.
#include <optional>
#include <string>

#include "absl/strings/str_join.h"
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

// "2: a b", or "20: a b c ..." for more than are named.
std::string Text(const WorkerList& list) {
  return absl::StrCat(list.count, list.count > 0 ? ": " : "", absl::StrJoin(list.names, " "),
                      list.names.size() < list.count ? " ..." : "");
}

RoundDescription Described(const Fleet& fleet) {
  const std::optional<RoundDescription> round = fleet.machine.DescribeRound(fleet.now);
  EXPECT_TRUE(round.has_value());
  return round.value_or(RoundDescription{});
}

TEST(DescribeTest, ThereIsNothingToTellBeforeAnybodyContributes) {
  Fleet fleet(Synchronous());
  EXPECT_FALSE(fleet.machine.DescribeRound(fleet.now).has_value());
  fleet.JoinAll({"a"});
  EXPECT_FALSE(fleet.machine.DescribeRound(fleet.now).has_value());
  fleet.Contribute("a");
  EXPECT_FALSE(fleet.machine.DescribeRound(fleet.now).has_value());
}

TEST(DescribeTest, TellsWhoContributedAndWhoIsExpected) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"d", "c", "b", "a"});
  fleet.Pass(absl::Seconds(1));
  fleet.Contribute("c");
  fleet.Pass(absl::Seconds(2));
  fleet.Contribute("b");
  const RoundDescription round = Described(fleet);
  EXPECT_EQ(round.version, 1u);
  EXPECT_EQ(round.mode, AggregationMode::kSynchronous);
  EXPECT_EQ(round.open_for, absl::Seconds(2));
  EXPECT_EQ(round.frozen_for, absl::Seconds(2));
  EXPECT_EQ(Text(round.contributed), "2: b c");
  EXPECT_EQ(Text(round.expected), "2: a d");
  EXPECT_EQ(Text(round.late), "0");
  EXPECT_EQ(round.close, CloseRule::kAll);
  EXPECT_EQ(round.config_version, 1u);
  EXPECT_EQ(round.num_contributions, 2u);
  EXPECT_EQ(round.needed_contributions, 0u);
  EXPECT_EQ(round.needed_weight, 0);
  EXPECT_FALSE(round.closes_in.has_value());
  EXPECT_EQ(round.needed_live_workers, 0u);
}

TEST(DescribeTest, LateIsWhoWasExpectedAndIsWaitedForNoLonger) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = 3;
  aggregation.progress_seconds = 40;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "expires", "leaves", "replaced", "stalls", "broken", "stays"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("leaves").ok());
  EXPECT_TRUE(fleet.Join("replaced").ok());
  EXPECT_TRUE(fleet.Join("came later").ok());
  Contribution infinite = fleet.Gradient("broken");
  infinite.finite = false;
  fleet.Send(infinite);
  EXPECT_EQ(Text(Described(fleet).late), "3: broken leaves replaced");
  EXPECT_EQ(Text(Described(fleet).expected), "3: expires stalls stays");
  fleet.PassWithHeartbeatsOf({"stalls", "stays", "broken"}, absl::Seconds(35));
  EXPECT_EQ(Text(Described(fleet).late), "4: broken expires leaves replaced");
  fleet.Contribute("stays");
  fleet.PassWithHeartbeatsOf({"stalls"}, absl::Seconds(6));
  const RoundDescription round = Described(fleet);
  EXPECT_EQ(Text(round.late), "5: broken expires leaves replaced stalls");
  EXPECT_EQ(Text(round.expected), "0");
  EXPECT_EQ(Text(round.contributed), "2: a stays");
  EXPECT_EQ(round.needed_contributions, 3u);
}

TEST(DescribeTest, WhoContributesAfterAllIsLateNoLonger) {
  Fleet fleet(Synchronous(CloseRule::kAll));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"c"}, absl::Seconds(31));
  EXPECT_EQ(Text(Described(fleet).late), "1: b");
  fleet.Contribute("b");
  EXPECT_EQ(Text(Described(fleet).late), "0");
  EXPECT_EQ(Text(Described(fleet).contributed), "2: a b");
  fleet.Contribute("c");
  fleet.Contribute("a");
  EXPECT_EQ(Text(Described(fleet).late), "0");  // of another round
}

TEST(DescribeTest, NamesSixteenOfMany) {
  Fleet fleet(Synchronous());
  for (int number = 10; number < 60; ++number) {
    EXPECT_TRUE(fleet.Join(absl::StrCat(number)).ok());
  }
  for (int number = 59; number >= 40; --number) fleet.Contribute(absl::StrCat(number));
  const RoundDescription round = Described(fleet);
  EXPECT_EQ(Text(round.contributed), "20: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 ...");
  EXPECT_EQ(Text(round.expected), "30: 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 ...");
}

TEST(DescribeTest, TellsTheWeightAndTheDeadline) {
  AggregationConfig aggregation = Synchronous(CloseRule::kWeight);
  aggregation.close_weight = 10;
  Fleet weighed(aggregation);
  weighed.JoinAll({"a", "b"});
  weighed.Contribute("a", 2.5f);
  EXPECT_EQ(Described(weighed).weight, 2.5);
  EXPECT_EQ(Described(weighed).needed_weight, 10);

  aggregation = Synchronous(CloseRule::kDeadline);
  aggregation.close_seconds = 4;
  Fleet timed(aggregation);
  timed.JoinAll({"a", "b"});
  timed.Contribute("a");
  timed.Pass(absl::Seconds(1));
  EXPECT_EQ(Described(timed).closes_in, absl::Seconds(3));
}

TEST(DescribeTest, TellsHowManyLiveWorkersTheFirstRoundNeeds) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  const RoundDescription round = Described(fleet);
  EXPECT_EQ(round.num_live_workers, 2u);
  EXPECT_EQ(round.needed_live_workers, 3u);
  EXPECT_FALSE(round.frozen_for.has_value());
  EXPECT_EQ(round.open_for, absl::ZeroDuration());
  EXPECT_EQ(Text(round.contributed), "1: a");
  EXPECT_EQ(Text(round.expected), "0");
}

TEST(DescribeTest, TellsTheClosingRuleInForce) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  aggregation.close_count = 2;
  fleet.Configure(aggregation);
  EXPECT_EQ(Described(fleet).needed_contributions, 2u);
  EXPECT_EQ(Described(fleet).config_version, 2u);
}

TEST(DescribeTest, AccumulationTellsHowManyContributionsThereAre) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a", "b"});
  for (const char* worker : {"a", "b", "a"}) fleet.Contribute(worker);
  const RoundDescription round = Described(fleet);
  EXPECT_EQ(round.mode, AggregationMode::kAsynchronous);
  EXPECT_EQ(round.num_contributions, 3u);
  EXPECT_EQ(round.needed_contributions, 4u);
  EXPECT_EQ(Text(round.contributed), "2: a b");
  EXPECT_EQ(Text(round.expected), "0");
}

TEST(DescribeTest, BoundedStalenessTellsTheSlowestThatOthersWaitFor) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"a", "slow", "b", "slower"});
  fleet.Contribute("a");
  EXPECT_FALSE(fleet.machine.DescribeRound(fleet.now).has_value());  // nobody waits yet
  const uint64_t ahead = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(ahead), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(Text(Described(fleet).expected), "2: slow slower");
  EXPECT_EQ(Text(Described(fleet).contributed), "0");
  fleet.Contribute("slow");
  EXPECT_EQ(Text(Described(fleet).expected), "1: slower");
  fleet.Contribute("slower");
  EXPECT_EQ(fleet.Told(ahead), "APPLIED 2");
  EXPECT_FALSE(fleet.machine.DescribeRound(fleet.now).has_value());
}

// --- What will not count.

TEST(DescribeTest, ASecondContributionToARoundIsToldThatItWillNotCount) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution first = fleet.Gradient("a");
  first.may_wait = false;
  const uint64_t one = fleet.Send(first);
  EXPECT_FALSE(fleet.answers[one].will_not_count);
  EXPECT_EQ(Text(Described(fleet).will_not_count), "0");
  Contribution second = fleet.Gradient("a");
  second.may_wait = false;
  const uint64_t two = fleet.Send(second);
  EXPECT_EQ(fleet.Told(two), "PENDING 1");
  EXPECT_TRUE(fleet.answers[two].will_not_count);
  EXPECT_EQ(Text(Described(fleet).will_not_count), "1: a");
  const uint64_t again = fleet.Send(second);
  EXPECT_EQ(fleet.Told(again), "again PENDING 1");
  EXPECT_TRUE(fleet.answers[again].will_not_count);
  second.may_wait = true;
  const uint64_t waiting = fleet.Send(second);
  EXPECT_EQ(fleet.Told(waiting), "waits");
  EXPECT_TRUE(fleet.last.will_not_count);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(waiting), "again ROUND_CLOSED 1");
  EXPECT_FALSE(fleet.answers[waiting].will_not_count);  // the verdict says it
}

TEST(DescribeTest, OnlyMembersAreListedAsNotCounting) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c", "stays"});
  for (const char* name : {"a", "b", "c"}) {
    fleet.Contribute(name);
    fleet.Contribute(name);
  }
  EXPECT_EQ(Text(Described(fleet).will_not_count), "3: a b c");
  EXPECT_TRUE(fleet.Leave("b").ok());
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_EQ(Text(Described(fleet).will_not_count), "1: a");
}

TEST(DescribeTest, AWaitThatEndsForALaterContributionTellsWhetherItCounts) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t first = fleet.Contribute("a");
  EXPECT_FALSE(fleet.last.will_not_count);
  const uint64_t second = fleet.Contribute("a");
  EXPECT_TRUE(fleet.last.will_not_count);
  EXPECT_EQ(fleet.Told(first), "PENDING 1");
  EXPECT_FALSE(fleet.answers[first].will_not_count);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(second), "PENDING 1");
  EXPECT_TRUE(fleet.answers[second].will_not_count);
}

TEST(DescribeTest, AContributionWhileAnAnswerIsHeldWillNotCount) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  Contribution first = fleet.Gradient("a");
  first.may_wait = false;
  const uint64_t one = fleet.Send(first);
  EXPECT_EQ(fleet.Told(one), "PENDING 1");
  EXPECT_FALSE(fleet.answers[one].will_not_count);  // it is part of version 1
  EXPECT_EQ(Text(Described(fleet).will_not_count), "0");
  Contribution second = fleet.Gradient("a");
  second.may_wait = false;
  const uint64_t two = fleet.Send(second);
  EXPECT_EQ(fleet.Told(two), "PENDING 1");
  EXPECT_TRUE(fleet.answers[two].will_not_count);
  EXPECT_EQ(Text(Described(fleet).will_not_count), "1: a");
}

}  // namespace
}  // namespace talweg::core
