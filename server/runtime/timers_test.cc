// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/timers.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/clock.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;

TEST(TimersTest, WhatIsDueIsCalledEarliestFirstWhateverTheOrderOfArming) {
  OrderLog log;
  Gate gate;
  Timers timers;
  Reply<int> called;
  const absl::Time past = MonotonicNow() - absl::Seconds(10);
  timers.Arm(absl::InfinitePast(), [&] { gate.Wait(); });  // until all are armed
  timers.Arm(past + absl::Seconds(3), [&] {
    log.Add("third");
    called.Callback()(0);
  });
  timers.Arm(past + absl::Seconds(1), [&] { log.Add("first"); });
  timers.Arm(past + absl::Seconds(2), [&] { log.Add("second"); });
  gate.Open();
  called.Get();
  EXPECT_THAT(log.words(), ElementsAre("first", "second", "third"));
}

TEST(TimersTest, CancelledIsNotCalledAndWhatWasCalledCannotBeCancelled) {
  OrderLog log;
  Gate gate;
  Timers timers;
  Reply<int> called;
  timers.Arm(absl::InfinitePast(), [&] { gate.Wait(); });
  const uint64_t cancelled = timers.Arm(absl::UnixEpoch(), [&] { log.Add("cancelled"); });
  const uint64_t kept = timers.Arm(absl::UnixEpoch(), [&] {
    log.Add("kept");
    called.Callback()(0);
  });
  EXPECT_TRUE(timers.Cancel(cancelled));
  EXPECT_FALSE(timers.Cancel(cancelled));
  gate.Open();
  called.Get();
  EXPECT_FALSE(timers.Cancel(kept));
  EXPECT_FALSE(timers.Cancel(0));
  EXPECT_THAT(log.words(), ElementsAre("kept"));
}

TEST(TimersTest, OneThatComesEarlierThanTheNextIsNotHeldUpByIt) {
  Timers timers;
  bool late = false;
  timers.Arm(MonotonicNow() + absl::Hours(1), [&] { late = true; });
  Reply<absl::Time> called;
  const absl::Time when = MonotonicNow() + absl::Milliseconds(5);
  timers.Arm(when, [&] { called.Callback()(MonotonicNow()); });
  EXPECT_GE(called.Get(), when);
  timers.Stop();
  EXPECT_FALSE(late);
}

TEST(TimersTest, CallbackMayArmAndCancel) {
  Timers timers;
  Reply<bool> called;
  const uint64_t far = timers.Arm(MonotonicNow() + absl::Hours(1), [] {});
  timers.Arm(absl::UnixEpoch(), [&] {
    const bool cancelled = timers.Cancel(far);
    timers.Arm(absl::UnixEpoch(), [&, cancelled] { called.Callback()(cancelled); });
  });
  EXPECT_TRUE(called.Get());
}

TEST(TimersTest, NothingIsCalledAfterTheStop) {
  Timers timers;
  bool called = false;
  const auto held = std::make_shared<int>(0);
  EXPECT_NE(timers.Arm(MonotonicNow() + absl::Hours(1), [&, held] { called = true; }), 0u);
  timers.Stop();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(timers.Arm(absl::UnixEpoch(), [&] { called = true; }), 0u);
  timers.Stop();
  EXPECT_FALSE(called);
}

TEST(TimersTest, WhatIsNeverDueIsNotKept) {
  Timers timers;
  const auto held = std::make_shared<int>(0);
  EXPECT_EQ(timers.Arm(absl::InfiniteFuture(), [held] {}), 0u);
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace talweg::server
