// SPDX-License-Identifier: Apache-2.0
//
// Which worker a message comes from: history, name, incarnation, role.
#include "core/rounds/rounds_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(IdentityTest, JoiningIsMandatory) {
  Fleet fleet(Synchronous());
  EXPECT_EQ(fleet.Told(fleet.Contribute("stranger")), "WORKER_NOT_JOINED");
  EXPECT_EQ(ReasonName(fleet.Heartbeat("stranger")), "WORKER_NOT_JOINED");
  EXPECT_EQ(ReasonName(fleet.Leave("stranger")), "WORKER_NOT_JOINED");
  EXPECT_EQ(fleet.machine.num_workers(), 0u);
}

TEST(IdentityTest, MessagesOfAnotherHistoryAreRefused) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  const std::string before = fleet.Bytes();
  Contribution contribution = fleet.Gradient("a");
  contribution.history = kHistory + 1;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "HISTORY_CHANGED");
  const uint64_t incarnation = fleet.incarnation("a");
  const absl::Status heartbeat = fleet.Do(Heartbeat{kHistory + 1, "a", incarnation}).status;
  EXPECT_EQ(ReasonName(heartbeat), "HISTORY_CHANGED");
  EXPECT_EQ(ReasonName(fleet.Do(Leave{kHistory + 1, "a", incarnation}).status), "HISTORY_CHANGED");
  EXPECT_TRUE(fleet.Bytes() == before);
}

TEST(IdentityTest, WhoComesWithAnotherHistoryIsToldWhereToGoOn) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  const absl::Status status = fleet.machine.CheckHistory(5);
  EXPECT_THAT(MetadataOf(status), Contains(Pair("history", "77")));
  EXPECT_THAT(MetadataOf(status), Contains(Pair("version", "1")));
  EXPECT_TRUE(fleet.machine.CheckHistory(kHistory).ok());
  EXPECT_EQ(status, CheckHistory(5, kHistory, 1));
}

TEST(IdentityTest, HistoryIsLookedAtBeforeTheWorker) {
  Fleet fleet(Synchronous());
  EXPECT_EQ(ReasonName(fleet.Do(Heartbeat{1, "stranger", 1}).status), "HISTORY_CHANGED");
}

TEST(IdentityTest, NewerIncarnationFencesTheOlder) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution old = fleet.Gradient("a");
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(fleet.Send(old)), "INCARNATION_FENCED");
  EXPECT_EQ(ReasonName(fleet.Do(Heartbeat{kHistory, "a", old.incarnation}).status),
            "INCARNATION_FENCED");
  EXPECT_EQ(ReasonName(fleet.Do(Leave{kHistory, "a", old.incarnation}).status),
            "INCARNATION_FENCED");
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(IdentityTest, FencedMessagesRenewNoLease) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  const uint64_t old = fleet.incarnation("a");
  fleet.JoinAll({"a"});
  fleet.Pass(absl::Seconds(29));
  fleet.Do(Heartbeat{kHistory, "a", old});
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
}

TEST(IdentityTest, FencingEndsTheCallsThatWait) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  const uint64_t again = fleet.Send(contribution);
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(first), "INCARNATION_FENCED");
  EXPECT_EQ(fleet.Told(again), "INCARNATION_FENCED");
}

// The attempt that was given up is looked at last.
TEST(IdentityTest, AttemptsOfOneJoinAreOneIncarnationInAnyOrder) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"b"});
  const auto attempt = [&] {
    const Effects joined =
        fleet.Do(Join{"a", fleet.last_incarnation + 1, {Role::kGradient}, /*nonce=*/30});
    EXPECT_TRUE(joined.status.ok()) << joined.status;
    ++fleet.last_incarnation;
    return joined.incarnation;
  };
  const uint64_t incarnation = attempt();
  Contribution contribution = fleet.Gradient("b");
  contribution.worker = "a";
  contribution.incarnation = incarnation;
  const uint64_t call = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(call), "waits");
  EXPECT_EQ(attempt(), incarnation);
  EXPECT_EQ(fleet.Told(call), "waits");
  EXPECT_TRUE(fleet.Do(Heartbeat{kHistory, "a", incarnation}).status.ok());
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(call), "APPLIED 1");
}

TEST(IdentityTest, AnIncarnationNeverIssuedIsNotJoined) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});  // 2 was issued, to b
  EXPECT_EQ(ReasonName(fleet.Do(Heartbeat{kHistory, "a", 2}).status), "WORKER_NOT_JOINED");
}

TEST(IdentityTest, AnIncarnationThatLeftIsNotJoined) {
  for (const AggregationConfig& aggregation :
       {AggregationConfig{}, Accumulating(4), Synchronous(), BoundedStaleness(1)}) {
    Fleet fleet(aggregation);
    fleet.JoinAll({"a", "b"});
    fleet.Contribute("a");  // in some modes it is part of an open round now
    const Contribution late = fleet.Gradient("a");
    EXPECT_TRUE(fleet.Leave("a").ok());
    EXPECT_EQ(fleet.Told(fleet.Send(late)), "WORKER_NOT_JOINED");
    EXPECT_EQ(ReasonName(fleet.Heartbeat("a")), "WORKER_NOT_JOINED");
    EXPECT_EQ(ReasonName(fleet.Leave("a")), "WORKER_NOT_JOINED");
    EXPECT_EQ(fleet.machine.num_workers(), 1u);
    EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  }
}

TEST(IdentityTest, LeavingEndsTheCallsThatWait) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t call = fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_EQ(fleet.Told(call), "WORKER_NOT_JOINED");
}

TEST(IdentityTest, WhoLeftMayJoinAgainAndBeginsAnew) {
  Fleet fleet(AggregationConfig{});
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Gradient("a").sequence, 1u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(IdentityTest, ANewIncarnationKnowsNoAnswersOfTheOlder) {
  Fleet fleet(AggregationConfig{});
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");  // its sequence 1
}

TEST(IdentityTest, OnlyWhoJoinedForGradientsContributes) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  EXPECT_TRUE(fleet.Join("reader", /*gradient=*/false).ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("reader")), "ROLE_MISSING");
  EXPECT_TRUE(fleet.Heartbeat("reader").ok());
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");  // nobody waits for the reader
}

TEST(IdentityTest, ANewIncarnationMayHaveAnotherRole) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  EXPECT_TRUE(fleet.Join("b", /*gradient=*/false).ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  EXPECT_TRUE(fleet.Join("b", /*gradient=*/true).ok());
  const uint64_t call = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(call), "waits");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 2");
}

TEST(IdentityTest, ErrorsNameTheWorkerAndTheIncarnation) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "a"});
  EXPECT_THAT(std::string(fleet.Do(Heartbeat{kHistory, "a", 1}).status.message()),
              HasSubstr("incarnation 1 of worker \"a\" was replaced by incarnation 2"));
}

}  // namespace
}  // namespace talweg::core
