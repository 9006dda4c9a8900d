// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/step_feed.h"

#include <cmath>
#include <limits>
#include <thread>

#include "gtest/gtest.h"
#include "server/runtime/clock.h"
#include "server/runtime/test_session.h"

namespace talweg::server {
namespace {

core::RunRecord RecordOf(uint64_t version) {
  core::RunRecord record;
  record.version = version;
  return record;
}

class Counter final : public StepFeed::Waiter {
 public:
  void Wake() override { ++num_wakes; }
  void MakeRestless() { restless_ = true; }
  std::atomic<int> num_wakes{0};
};

TEST(StepFeedTest, AStepWakesEachWaiterOnce) {
  StepFeed feed;
  Counter a;
  Counter b;
  EXPECT_TRUE(feed.Await(0, a));
  EXPECT_TRUE(feed.Await(0, b));
  feed.Append(RecordOf(1));
  feed.Append(RecordOf(2));
  EXPECT_EQ(a.num_wakes, 1);
  EXPECT_EQ(b.num_wakes, 1);
}

TEST(StepFeedTest, NobodyWaitsForWhatIsThere) {
  StepFeed feed;
  Counter waiter;
  feed.Append(RecordOf(3));
  EXPECT_FALSE(feed.Await(2, waiter));
  EXPECT_TRUE(feed.Await(3, waiter));
}

TEST(StepFeedTest, CloseWakesAndLetsNobodyWait) {
  StepFeed feed;
  Counter waiter;
  EXPECT_TRUE(feed.Await(0, waiter));
  EXPECT_FALSE(feed.closed());
  feed.Close();
  EXPECT_TRUE(feed.closed());
  EXPECT_EQ(waiter.num_wakes, 1);
  EXPECT_FALSE(feed.Await(0, waiter));
  feed.Append(RecordOf(1));
  EXPECT_EQ(feed.newest_version(), 0u);
  EXPECT_TRUE(feed.After(0, 10).empty());
}

TEST(StepFeedTest, OneThatIsForgottenIsNotWoken) {
  StepFeed feed;
  Counter waiter;
  EXPECT_FALSE(feed.Forget(waiter));
  EXPECT_TRUE(feed.Await(0, waiter));
  EXPECT_TRUE(feed.Forget(waiter));
  EXPECT_FALSE(feed.Forget(waiter));
  feed.Append(RecordOf(1));
  EXPECT_EQ(waiter.num_wakes, 0);
}

TEST(StepFeedTest, ARestlessOneDoesNotWait) {
  StepFeed feed;
  Counter waiter;
  waiter.MakeRestless();
  EXPECT_FALSE(feed.Await(0, waiter));
}

// Whatever happens meanwhile, a waiter is either told not to wait or woken: it misses no step.
TEST(StepFeedTest, NoWakeUpIsLost) {
  constexpr uint64_t kSteps = 200000;
  StepFeed feed;
  struct Reader final : StepFeed::Waiter {
    void Wake() override { turn.store(true); }
    std::atomic<bool> turn{false};
  } reader;
  std::thread stepping([&] {
    for (uint64_t version = 1; version <= kSteps; ++version) feed.Append(RecordOf(version));
    feed.Close();
  });
  uint64_t seen = 0;
  while (!feed.closed()) {
    for (const core::RunRecord& record : feed.After(seen, 4)) {
      EXPECT_GT(record.version, seen);
      seen = record.version;
    }
    if (!feed.Await(seen, reader)) continue;
    while (!reader.turn) std::this_thread::yield();
    reader.turn = false;
  }
  stepping.join();
}

TEST(StepFeedTest, TheHostRemembersEachStepItTakes) {
  ComputePool pool(2);
  TestSession session(pool, 3);
  session.Start();
  StepInput input = session.Input(1, 2.0f);
  input.losses = {0.75, 0.5};
  StepReply stepped;
  session.host().Step(std::move(input), stepped.Callback());
  ASSERT_TRUE(stepped.Get().ok());
  // The record is there before the answer.
  std::vector<core::RunRecord> records = session.host().feed()->After(0, 10);
  ASSERT_EQ(records.size(), 1u);
  const absl::Duration age = WallNow() - records[0].time;
  EXPECT_LT(age, absl::Minutes(1));
  EXPECT_GT(age, -absl::Minutes(1));
  EXPECT_EQ(records[0].version, 1u);
  EXPECT_EQ(records[0].report.loss, 0.75);
  EXPECT_EQ(records[0].report.learning_rate, 0.5);
  EXPECT_FLOAT_EQ(static_cast<float>(records[0].report.gradient_norm), std::sqrt(12.0f));
  EXPECT_GT(records[0].step_seconds, 0);
  EXPECT_GE(records[0].seconds_since_last, records[0].step_seconds);
  ASSERT_TRUE(session.Step(2, 1.0f).Get().ok());
  EXPECT_EQ(session.host().feed()->newest_version(), 2u);
  EXPECT_FALSE(session.host().feed()->After(1, 1)[0].report.loss.has_value());
  // Neither a change of the rate nor a contribution that is refused is a step.
  ASSERT_TRUE(session.SetRate(0.25).Get().ok());
  ASSERT_TRUE(session.Step(3, std::numeric_limits<float>::infinity()).Get().ok());
  EXPECT_EQ(session.host().feed()->After(0, 10).size(), 2u);
}

TEST(StepFeedTest, ADeletedSessionLeavesAnEmptyFeedThatDoesNotKeepIt) {
  ComputePool pool(2);
  TestSession session(pool, 3);
  session.Start();
  ASSERT_TRUE(session.Step(1, 1.0f).Get().ok());
  const std::shared_ptr<StepFeed> feed = session.host().feed();
  const std::weak_ptr<SessionHost> host = session.Share();
  session.host().Delete();
  EXPECT_TRUE(feed->closed());
  EXPECT_TRUE(feed->After(0, 10).empty());
  session.Drop();
  while (!host.expired()) std::this_thread::yield();
}

}  // namespace
}  // namespace talweg::server
