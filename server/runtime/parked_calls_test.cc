// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/parked_calls.h"

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

ParkedCall Call(const std::string& worker, bool wants_lookahead, int* called = nullptr) {
  return {worker, wants_lookahead, [called](const absl::StatusOr<StepOutcome>&) {
            if (called != nullptr) ++*called;
          }};
}

TEST(ParkedCallsTest, CallIsTakenOutOnceAndIsNotCalledByThat) {
  ParkedCalls calls;
  int called = 0;
  calls.Park(7, Call("a", false, &called));
  EXPECT_TRUE(calls.Has(7));
  EXPECT_FALSE(calls.Has(8));
  EXPECT_FALSE(calls.Unpark(8).has_value());
  std::optional<ParkedCall> call = calls.Unpark(7);
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->worker, "a");
  EXPECT_EQ(called, 0);
  call->done(absl::CancelledError());
  EXPECT_EQ(called, 1);
  EXPECT_FALSE(calls.Has(7));
  EXPECT_FALSE(calls.Unpark(7).has_value());
}

TEST(ParkedCallsTest, FirstIsTheOneThatCameFirst) {
  ParkedCalls calls;
  calls.Park(9, Call("late", false));
  calls.Park(3, Call("early", false));
  EXPECT_EQ(calls.UnparkFirst()->first, 3u);
  EXPECT_EQ(calls.UnparkFirst()->second.worker, "late");
  EXPECT_FALSE(calls.UnparkFirst().has_value());
}

TEST(ParkedCallsTest, ItIsKnownWhetherAnybodyWantsTheLookahead) {
  ParkedCalls calls;
  calls.Park(1, Call("a", false));
  EXPECT_FALSE(calls.AnyWantsLookahead());
  calls.Park(2, Call("b", true));
  calls.Park(3, Call("c", true));
  EXPECT_TRUE(calls.AnyWantsLookahead());
  calls.Unpark(2);
  EXPECT_TRUE(calls.AnyWantsLookahead());
  calls.Unpark(3);
  EXPECT_FALSE(calls.AnyWantsLookahead());
}

TEST(AbandonedTicketsTest, TicketIsAbandonedUntilItsTurnHasCome) {
  AbandonedTickets tickets;
  EXPECT_FALSE(tickets.Has(4));
  tickets.Add(4);
  EXPECT_TRUE(tickets.Has(4));
  tickets.Remove(4);
  EXPECT_FALSE(tickets.Has(4));
}

}  // namespace
}  // namespace talweg::server
