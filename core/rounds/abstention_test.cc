// SPDX-License-Identifier: Apache-2.0
//
// Abstentions: a worker without a gradient takes part in a round and holds up nobody.
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

using Names = std::vector<std::string>;

TEST(AbstentionTest, ARoundDoesNotWaitForAWorkerThatAbstains) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a", 3);
  const uint64_t c = fleet.Abstain("c");
  EXPECT_EQ(fleet.Told(c), "waits");
  EXPECT_FALSE(fleet.last.will_not_count);
  EXPECT_FALSE(fleet.last.fold);
  const uint64_t b = fleet.Contribute("b", 5);
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.Told(c), "ABSTAINED 1");
}

TEST(AbstentionTest, ItsWeightIsNoneAndTheRecordSaysWho) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c", "d"});
  fleet.Abstain("d");
  fleet.Contribute("a", 3);
  fleet.Abstain("b");
  const uint64_t c = fleet.Contribute("c", 5);
  EXPECT_EQ(fleet.MembersOf(1), "a c");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 2u);
  EXPECT_EQ(fleet.OrderOf(1).total_weight, 8);
  EXPECT_EQ(fleet.RecordOf(1).num_abstained, 2u);
  EXPECT_EQ(fleet.RecordOf(1).abstained_workers, (Names{"b", "d"}));
  EXPECT_EQ(fleet.RecordOf(1).num_late, 0u);
  EXPECT_EQ(fleet.answers[c].report->num_abstained, 2u);
  EXPECT_EQ(fleet.answers[c].report->abstained_workers, (Names{"b", "d"}));
  // The next version is another round.
  for (const char* worker : {"a", "b", "c", "d"}) fleet.Contribute(worker);
  EXPECT_EQ(fleet.RecordOf(2).num_abstained, 0u);
  EXPECT_TRUE(fleet.RecordOf(2).abstained_workers.empty());
}

TEST(AbstentionTest, OnlyTheFirstSixteenNamesAreTold) {
  Fleet fleet(Synchronous());
  Names names;
  for (char letter = 'a'; letter <= 't'; ++letter) names.emplace_back(1, letter);
  fleet.JoinAll(names);
  for (size_t index = names.size(); index-- > 1;) fleet.Abstain(names[index]);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.RecordOf(1).num_abstained, 19u);
  EXPECT_EQ(fleet.RecordOf(1).abstained_workers, Names(names.begin() + 1, names.begin() + 17));
}

TEST(AbstentionTest, ItOpensARoundAsAContributionDoes) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Abstain("a");
  fleet.JoinAll({"late"});  // after the set of expected workers was frozen
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "ABSTAINED 1");
  EXPECT_EQ(fleet.MembersOf(1), "b");
}

TEST(AbstentionTest, BeforeVersion1ItWaitsForEnoughLiveWorkers) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Abstain("a");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.JoinAll({"c"});
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(a), "ABSTAINED 1");
  EXPECT_EQ(fleet.MembersOf(1), "b c");
}

TEST(AbstentionTest, IfAllAbstainNoVersionIsMade) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Abstain("a");
  const uint64_t b = fleet.Abstain("b");
  EXPECT_EQ(fleet.Told(b), "waits");
  const uint64_t c = fleet.Abstain("c");
  EXPECT_EQ(fleet.machine.version(), 0u);
  for (const uint64_t ticket : {a, b, c}) EXPECT_EQ(fleet.Told(ticket), "ABSTAINED 0");
  // The round is over: the same workers make the next one.
  fleet.Contribute("a");
  fleet.Abstain("b");
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("c");
  EXPECT_EQ(fleet.MembersOf(1), "a c");
  EXPECT_EQ(fleet.RecordOf(1).abstained_workers, (Names{"a", "b", "c"}));
}

TEST(AbstentionTest, IfTheOthersAreGoneNoVersionIsMadeEither) {
  for (const AggregationConfig& aggregation : {Synchronous(), Count(2, TooFew::kWait)}) {
    Fleet fleet(aggregation);
    fleet.JoinAll({"a", "b", "c"});
    const uint64_t a = fleet.Abstain("a");
    EXPECT_TRUE(fleet.Leave("b").ok());
    EXPECT_EQ(fleet.Told(a), "waits");
    fleet.Pass(absl::Seconds(30));  // c expires
    EXPECT_EQ(fleet.Told(a), "ABSTAINED 0");
    EXPECT_TRUE(fleet.orders.empty());
  }
}

TEST(AbstentionTest, NoDeadlineRunsBeforeTheFirstContribution) {
  AggregationConfig aggregation = Deadline(5);
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Abstain("a");
  fleet.PassWithHeartbeatsOf({"b", "c"}, absl::Seconds(20));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("b");
  fleet.PassWithHeartbeatsOf({"c"}, absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "ABSTAINED 1");
  EXPECT_EQ(fleet.RecordOf(1).late_workers, Names{"c"});
}

TEST(AbstentionTest, CountsForTheCountButDoesNotCloseAlone) {
  Fleet fleet(Count(3));
  fleet.JoinAll({"a", "b", "c", "d"});
  const uint64_t a = fleet.Abstain("a");
  fleet.Abstain("b");
  fleet.Abstain("c");
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("d");
  EXPECT_EQ(fleet.Told(a), "ABSTAINED 1");
  EXPECT_EQ(fleet.MembersOf(1), "d");
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Abstain("c");
  EXPECT_EQ(fleet.MembersOf(2), "a b");
}

TEST(AbstentionTest, DoesNotReachAWeight) {
  AggregationConfig aggregation = Weight(2);
  aggregation.too_few = TooFew::kClose;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a", 1);
  fleet.Abstain("b");
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Abstain("c");  // nobody else is expected
  EXPECT_EQ(fleet.MembersOf(1), "a");
}

TEST(AbstentionTest, AWorkerThatTheRoundNeedsAfterAllMayContribute) {
  AggregationConfig aggregation = Weight(3);
  for (const bool leaves : {false, true}) {
    Fleet fleet(aggregation);
    fleet.JoinAll({"a", "b", "c"});
    const uint64_t a = fleet.Contribute("a", 2);
    const uint64_t b = fleet.Abstain("b");
    EXPECT_EQ(fleet.Told(b), "waits");
    const uint64_t c = fleet.Abstain("c");
    EXPECT_EQ(fleet.Told(a), "waits");
    EXPECT_EQ(fleet.Told(b), "ABSTAINED 0");
    EXPECT_EQ(fleet.Told(c), "ABSTAINED 0");
    EXPECT_EQ(fleet.Told(fleet.Abstain("c")), "ABSTAINED 0");
    if (leaves) {
      EXPECT_TRUE(fleet.Leave("c").ok());
    }
    const uint64_t gradient = fleet.Contribute("b", 1);
    EXPECT_EQ(fleet.Told(gradient), "APPLIED 1");
    EXPECT_EQ(fleet.MembersOf(1), "a b");
    EXPECT_EQ(fleet.RecordOf(1).num_abstained, 3u);
    EXPECT_EQ(fleet.RecordOf(1).abstained_workers, (Names{"b", "c"}));
  }
}

TEST(AbstentionTest, SoMayOneWhoseGradientCameBehindItsAbstention) {
  Fleet fleet(Count(3));
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Abstain("b");
  fleet.JoinAll({"b"});
  const uint64_t behind = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(behind), "waits");
  EXPECT_TRUE(fleet.Leave("c").ok());  // now the round needs b after all
  EXPECT_EQ(fleet.Told(behind), "ROUND_CLOSED 0");
  fleet.JoinAll({"c"});
  fleet.Contribute("c");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a c b");
}

TEST(AbstentionTest, RoundsThatMadeNoVersionAreInTheRecordToo) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Abstain("a");
  fleet.Abstain("b");
  fleet.Contribute("a");
  fleet.Abstain("b");
  EXPECT_EQ(fleet.RecordOf(1).num_abstained, 3u);
  EXPECT_EQ(fleet.RecordOf(1).abstained_workers, (Names{"a", "b"}));
}

// Workers abstain, leave, come back and change their minds at random. When all of them contribute
// and wait for their verdicts, versions are made again.
TEST(AbstentionTest, NobodyWaitsForEver) {
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](uint64_t bound) { return random() % bound; };
    AggregationConfig aggregation = Synchronous();
    if (seed % 5 == 1) aggregation = Count(3);
    if (seed % 5 == 2) aggregation = Count(4, TooFew::kClose);
    if (seed % 5 == 3) aggregation = Weight(4);
    if (seed % 5 == 4) aggregation = Deadline(5);
    aggregation.min_workers = 1 + below(3);
    aggregation.workers_may_close = below(4) == 0;
    Fleet fleet(aggregation);
    const Names names = {"a", "b", "c", "d"};
    std::map<std::string, bool> is_there;
    for (int event = 0; event < 40; ++event) {
      const std::string& worker = names[below(4)];
      const uint64_t kind = below(8);
      if (kind == 0) {
        EXPECT_TRUE(fleet.Join(worker).ok());
        is_there[worker] = true;
      } else if (kind == 1) {
        fleet.Pass(absl::Seconds(static_cast<int64_t>(below(12))));
      } else if (is_there[worker] && kind == 2) {
        EXPECT_TRUE(fleet.Leave(worker).ok());
        is_there[worker] = false;
      } else if (is_there[worker]) {
        Contribution one = kind < 5 ? fleet.Gradient(worker) : fleet.Abstention(worker);
        one.may_wait = below(2) == 0;
        one.closes_round = aggregation.workers_may_close && below(3) == 0;
        fleet.Send(one);
      }
    }
    const uint64_t version = fleet.machine.version();
    for (const std::string& worker : names) {
      if (!is_there[worker]) {
        EXPECT_TRUE(fleet.Join(worker).ok());
      }
    }
    std::map<std::string, uint64_t> calls;
    for (int second = 0; second < 200; ++second) {
      for (const std::string& worker : names) {
        const auto call = calls.find(worker);
        if (call != calls.end() && fleet.Told(call->second) == "waits") continue;
        calls[worker] = fleet.Contribute(worker);
      }
      fleet.PassWithHeartbeatsOf(names, absl::Seconds(1));
    }
    ASSERT_GE(fleet.machine.version(), version + 5) << "seed " << seed;
  }
}

TEST(AbstentionTest, AWorkerHasOnePartInARound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t abstained = fleet.Abstain("a");
  const uint64_t gradient = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(abstained), "PENDING 1");
  EXPECT_TRUE(fleet.last.will_not_count);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(gradient), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "b");

  const uint64_t counted = fleet.Contribute("b");
  const uint64_t too_late = fleet.Abstain("b");
  EXPECT_EQ(fleet.Told(counted), "PENDING 2");
  fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(too_late), "ROUND_CLOSED 2");
  EXPECT_EQ(fleet.MembersOf(2), "b a");
  EXPECT_EQ(fleet.RecordOf(2).num_abstained, 0u);
}

TEST(AbstentionTest, WhatTheWorkerWasToldIsToldAgain) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution abstention = fleet.Abstention("a");
  abstention.may_wait = false;
  EXPECT_EQ(fleet.Told(fleet.Send(abstention)), "PENDING 1");
  EXPECT_EQ(fleet.Told(fleet.Send(abstention)), "again PENDING 1");
  abstention.may_wait = true;
  const uint64_t asks_again = fleet.Send(abstention);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(asks_again), "again ABSTAINED 1");
  fleet.Restart();
  EXPECT_EQ(fleet.Told(fleet.Send(abstention)), "again ABSTAINED 1");
  abstention.digest += 1;
  EXPECT_EQ(fleet.Told(fleet.Send(abstention)), "SEQUENCE_REUSED");
}

// A worker without samples may never have asked for parameters.
TEST(AbstentionTest, IsNeverTooOld) {
  AggregationConfig windows = Accumulating(2);
  windows.max_staleness = 1;
  AggregationConfig bounded = BoundedStaleness(10);
  bounded.max_workers = 2;
  bounded.max_staleness = 30;
  for (const AggregationConfig& aggregation :
       {Synchronous(), AggregationConfig{}, windows, bounded}) {
    Fleet fleet(aggregation);
    fleet.JoinAll({"busy"});
    for (int step = 0; step < 8; ++step) fleet.Contribute("busy");
    fleet.JoinAll({"idle"});
    Contribution old = fleet.Abstention("idle");
    old.base_version = 0;
    const uint64_t told = fleet.Send(old);
    while (fleet.Told(told) == "waits") fleet.Contribute("busy");
    EXPECT_EQ(fleet.answers[told].verdict, Verdict::kAbstained);
    Contribution ahead = fleet.Abstention("idle");
    ahead.base_version = fleet.machine.version() + 1;
    EXPECT_EQ(fleet.Told(fleet.Send(ahead)), "VERSION_AHEAD");
  }
}

TEST(AbstentionTest, StandsThoughItsWorkerLeavesOrIsReplaced) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Abstain("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.Abstain("b");
  fleet.JoinAll({"b"});
  const uint64_t again = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(again), "waits");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(again), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "c");
  EXPECT_EQ(fleet.RecordOf(1).abstained_workers, (Names{"a", "b"}));
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
  fleet.JoinAll({"a"});
  for (const char* worker : {"b", "c", "a"}) fleet.Contribute(worker);
  EXPECT_EQ(fleet.MembersOf(2), "b c a");
}

TEST(AbstentionTest, MakesNobodyLate) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Abstain("a");
  fleet.Contribute("b");
  Contribution old = fleet.Gradient("a");
  old.base_version = 0;
  EXPECT_EQ(fleet.answers[fleet.Send(old)].missed_rounds, 0u);
}

TEST(AbstentionTest, IsDurableBeforeItIsTold) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Abstain("a");
  EXPECT_TRUE(fleet.last.durable.empty());
  fleet.hold_steps = true;
  fleet.Contribute("b");
  const Effects effects = fleet.TakeStep();
  ASSERT_EQ(effects.durable.size(), 2u);
  const auto& settled = std::get<ContributionSettled>(effects.durable[1]);
  EXPECT_EQ(settled.worker, "a");
  EXPECT_EQ(settled.verdict, Verdict::kAbstained);
  EXPECT_EQ(settled.version, 1u);
}

TEST(AbstentionTest, IsNoRefusal) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Abstain("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.refusals(), RefusalCounts{});
}

TEST(AbstentionTest, ClosesARoundIfWorkersMay) {
  AggregationConfig aggregation = Synchronous();
  Fleet refuses(aggregation);
  refuses.JoinAll({"a"});
  Contribution closes = refuses.Abstention("a");
  closes.closes_round = true;
  EXPECT_EQ(refuses.Told(refuses.Send(closes)), "FIELD_OUT_OF_RANGE");

  aggregation.workers_may_close = true;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a");
  closes = fleet.Abstention("b");
  closes.closes_round = true;
  const uint64_t b = fleet.Send(closes);
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.Told(b), "ABSTAINED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a");
  // There is nothing to make a version of.
  closes = fleet.Abstention("b");
  closes.closes_round = true;
  EXPECT_EQ(fleet.Told(fleet.Send(closes)), "ABSTAINED 1");
  EXPECT_EQ(fleet.machine.version(), 1u);
}

// --- The other modes.

TEST(AbstentionTest, WithBoundedStalenessItAdvancesTheClock) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"fast", "idle"});
  fleet.Contribute("fast");
  const uint64_t ahead = fleet.Contribute("fast");
  EXPECT_EQ(fleet.Told(ahead), "waits");
  EXPECT_EQ(fleet.Told(fleet.Abstain("idle")), "ABSTAINED 2");
  EXPECT_EQ(fleet.Told(ahead), "APPLIED 2");
  fleet.Contribute("fast");
  EXPECT_EQ(fleet.RecordOf(3).num_abstained, 1u);
  EXPECT_EQ(fleet.RecordOf(3).abstained_workers, Names{"idle"});
  EXPECT_EQ(fleet.RecordOf(2).num_abstained, 0u);
}

TEST(AbstentionTest, WithBoundedStalenessAWorkerThatOnlyAbstainsIsHeldToo) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"idle", "slow"});
  EXPECT_EQ(fleet.Told(fleet.Abstain("idle")), "ABSTAINED 0");
  const uint64_t held = fleet.Abstain("idle");
  EXPECT_EQ(fleet.Told(held), "waits");
  EXPECT_FALSE(fleet.last.will_not_count);
  fleet.Contribute("slow");
  EXPECT_EQ(fleet.Told(held), "ABSTAINED 0");
}

TEST(AbstentionTest, AsynchronouslyItIsAnsweredAtOnce) {
  Fleet fleet(Accumulating(3));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(fleet.Abstain("b")), "ABSTAINED 0");
  EXPECT_EQ(fleet.Told(fleet.Abstain("b")), "ABSTAINED 0");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.MembersOf(1), "a b a");
  EXPECT_EQ(fleet.RecordOf(1).num_abstained, 2u);
  EXPECT_EQ(fleet.RecordOf(1).abstained_workers, Names{"b"});
}

TEST(AbstentionTest, AsynchronouslyItClosesAWindowWithWhatCame) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a", "b"});
  Contribution closes = fleet.Abstention("a");
  closes.closes_round = true;
  EXPECT_EQ(fleet.Told(fleet.Send(closes)), "ABSTAINED 0");  // the window is empty
  fleet.Contribute("a");
  const uint64_t last = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(last), "PENDING 1");
  closes = fleet.Abstention("a");
  closes.closes_round = true;
  EXPECT_EQ(fleet.Told(fleet.Send(closes)), "ABSTAINED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 2u);
  EXPECT_EQ(fleet.OrderOf(1).total_weight, 2);
  EXPECT_EQ(fleet.Told(fleet.Send(closes)), "again ABSTAINED 1");
}

TEST(AbstentionTest, IsDescribedInTheOpenRound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Abstain("b");
  const auto told = fleet.machine.DescribeRound(fleet.now);
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->abstained.names, Names{"b"});
  EXPECT_EQ(told->contributed.count, 0u);
  EXPECT_EQ(told->expected.names, (Names{"a", "c"}));
  EXPECT_EQ(told->will_not_count.count, 0u);
  EXPECT_FALSE(told->open_for.has_value());
  EXPECT_TRUE(told->frozen_for.has_value());
}

}  // namespace
}  // namespace talweg::core
