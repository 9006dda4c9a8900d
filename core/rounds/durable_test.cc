// SPDX-License-Identifier: Apache-2.0
//
// What must survive a crash before anybody is told of it, and what may be forgotten.
#include <string>
#include <variant>
#include <vector>

#include "core/rounds/rounds_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "joined a 1", "refused a 1 2 ROUND_CLOSED at 3", "configured 2", "made 4".
std::vector<std::string> Durable(const Effects& effects) {
  static constexpr const char* kNames[] = {"APPLIED", "TOO_STALE", "REJECTED_NON_FINITE",
                                           "ROUND_CLOSED", "PENDING"};
  std::vector<std::string> said;
  for (const DurableChange& change : effects.durable) {
    if (const auto* joined = std::get_if<MemberAdmitted>(&change)) {
      said.push_back(absl::StrCat("joined ", joined->worker, " ", joined->incarnation));
    } else if (const auto* refused = std::get_if<ContributionSettled>(&change)) {
      said.push_back(absl::StrCat(
          "refused ", refused->worker, " ", refused->incarnation, " ", refused->sequence, " ",
          kNames[static_cast<size_t>(refused->verdict)], " at ", refused->version));
    } else if (const auto* configured = std::get_if<ConfigurationAccepted>(&change)) {
      said.push_back(absl::StrCat("configured ", configured->config_version));
    } else {
      said.push_back(absl::StrCat("made ", std::get<VersionMade>(change).record->version));
    }
  }
  return said;
}

TEST(DurableTest, AJoinMustSurvive) {
  Fleet fleet(Synchronous());
  const Effects joined = fleet.Do(Join{"a", 1, {Role::kGradient, Role::kStatistics}});
  EXPECT_THAT(Durable(joined), ElementsAre("joined a 1"));
  EXPECT_EQ(std::get<MemberAdmitted>(joined.durable[0]).roles,
            (Roles{Role::kGradient, Role::kStatistics}));
  EXPECT_THAT(Durable(fleet.Do(Join{"a", 2})), ElementsAre("joined a 2"));
}

TEST(DurableTest, ARepeatedJoinIsDurableAlready) {
  Fleet fleet(Synchronous());
  const Effects joined = fleet.Do(Join{"a", 1, {Role::kGradient}, 30});
  EXPECT_EQ(joined.incarnation, 1u);
  EXPECT_EQ(std::get<MemberAdmitted>(joined.durable[0]).nonce, 30u);
  const std::string before = fleet.Bytes();
  const Effects again = fleet.Do(Join{"a", 2, {Role::kGradient}, 30});
  EXPECT_EQ(again.incarnation, 1u);
  EXPECT_THAT(Durable(again), IsEmpty());
  EXPECT_TRUE(fleet.Bytes() == before);
}

TEST(DurableTest, AJoinThatFindsNoPlaceChangesNothing) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_workers = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  const Effects refused = fleet.Do(Join{"b", 2});
  EXPECT_EQ(ReasonName(refused.status), "TOO_MANY_WORKERS");
  EXPECT_THAT(Durable(refused), IsEmpty());
}

TEST(DurableTest, ARefusalMustSurvive) {
  AggregationConfig aggregation;
  aggregation.max_staleness = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int time = 0; time < 3; ++time) fleet.Contribute("a");
  Contribution stale = fleet.Gradient("a");
  stale.base_version = 0;
  fleet.Send(stale);
  EXPECT_THAT(Durable(fleet.last), ElementsAre("refused a 1 4 TOO_STALE at 3"));
  EXPECT_EQ(std::get<ContributionSettled>(fleet.last.durable[0]).digest, stale.digest);
  Contribution infinite = fleet.Gradient("a");
  infinite.finite = false;
  fleet.Send(infinite);
  EXPECT_THAT(Durable(fleet.last), ElementsAre("refused a 1 5 REJECTED_NON_FINITE at 3"));
}

TEST(DurableTest, ARefusalMustSurviveThoughItsAnswerIsHeld) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const uint64_t first = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(first), "waits");  // a is ahead of b
  const uint64_t second = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(second), "waits");
  EXPECT_THAT(Durable(fleet.last), ElementsAre("refused a 1 2 ROUND_CLOSED at 1"));
}

TEST(DurableTest, AVersionMustSurvive) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  EXPECT_THAT(Durable(fleet.last), IsEmpty());  // nobody is told before the step is taken
  const Effects made = fleet.TakeStep();
  EXPECT_THAT(Durable(made), ElementsAre("made 1"));
  EXPECT_EQ(std::get<VersionMade>(made.durable[0]).record, made.made);
}

TEST(DurableTest, WhoContributedTwiceIsRefusedDurablyWhenTheRoundCloses) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.Contribute("a");
  EXPECT_THAT(Durable(fleet.last), IsEmpty());
  fleet.Contribute("b");
  fleet.hold_steps = true;
  fleet.Contribute("c");
  EXPECT_THAT(Durable(fleet.TakeStep()), ElementsAre("made 1", "refused a 1 2 ROUND_CLOSED at 1"));
}

TEST(DurableTest, AnAcceptedConfigurationMustSurvive) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  EXPECT_THAT(Durable(fleet.Do(Configure{RateOf(0.5), Synchronous(), 2})),
              ElementsAre("configured 2"));
  fleet.Contribute("a");
  EXPECT_THAT(Durable(fleet.Do(Configure{RateOf(0.25), Synchronous(), 3})),
              ElementsAre("configured 3"));
}

TEST(DurableTest, WhatIsPendingMayBeForgotten) {
  Fleet fleet(Accumulating(3));
  fleet.JoinAll({"a"});
  const Contribution contribution = fleet.Gradient("a");
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "PENDING 1");
  EXPECT_THAT(Durable(fleet.last), IsEmpty());
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again PENDING 1");
  EXPECT_THAT(Durable(fleet.last), IsEmpty());
}

TEST(DurableTest, ARepeatOfARememberedAnswerChangesNothing) {
  Fleet fleet{AggregationConfig{}};
  fleet.JoinAll({"a"});
  const Contribution contribution = fleet.Gradient("a");
  fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again APPLIED 1");
  EXPECT_THAT(Durable(fleet.last), IsEmpty());
}

TEST(DurableTest, AnErrorChangesNothing) {
  Fleet fleet{AggregationConfig{}};
  fleet.JoinAll({"a"});
  Contribution ahead = fleet.Gradient("a");
  ahead.base_version = 9;
  EXPECT_EQ(fleet.Told(fleet.Send(ahead)), "VERSION_AHEAD");
  EXPECT_THAT(Durable(fleet.last), IsEmpty());
}

TEST(DurableTest, SignsOfLifeDeparturesAndExpiryMayBeForgotten) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t waiting = fleet.Contribute("a");
  EXPECT_THAT(Durable(fleet.Do(Heartbeat{kHistory, "b", fleet.incarnation("b")})), IsEmpty());
  EXPECT_THAT(Durable(fleet.Do(CallEnded{"a", waiting + 1})), IsEmpty());
  fleet.hold_steps = true;
  fleet.now += absl::Hours(1);
  const Effects expired = fleet.Do(Tick{});
  EXPECT_TRUE(expired.step.has_value());
  EXPECT_THAT(Durable(expired), IsEmpty());
  fleet.TakeStep();
  EXPECT_THAT(Durable(fleet.Do(Leave{kHistory, "b", fleet.incarnation("b")})), IsEmpty());
}

}  // namespace
}  // namespace talweg::core
