// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

class WatchSessionTest : public ::testing::Test {
 protected:
  WatchSessionTest() {
    for (uint64_t version = 1; version <= 5; ++version) {
      server_->records.emplace_back().set_version(version);
    }
    options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.retry.overall_timeout = absl::Milliseconds(200);
  }

  absl::Status Watch(const WatchOptions& watch = {}) {
    const Client client(std::make_shared<FakeTransport>(server_), options_);
    return client.WatchSession("mlp", watch, [&](const v1::WatchSessionResponse& message) {
      for (const v1::StepRecord& record : message.records()) seen_.push_back(record.version());
      return after_message_ ? after_message_() : absl::OkStatus();
    });
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
  std::vector<uint64_t> seen_;
  std::function<absl::Status()> after_message_;
};

TEST_F(WatchSessionTest, TellsEachStepAfterAVersionOnce) {
  EXPECT_TRUE(Watch({.after_version = 2}).ok());
  EXPECT_EQ(seen_, (std::vector<uint64_t>{3, 4, 5}));
}

TEST_F(WatchSessionTest, ABrokenStreamGoesOnAfterTheLastVersionInTheSameHistory) {
  server_->end_watch_after = 2;
  server_->watch_ends = {absl::UnavailableError("broken"), absl::DeadlineExceededError("late"),
                         absl::OkStatus()};
  EXPECT_TRUE(Watch().ok());
  EXPECT_EQ(seen_, (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  ASSERT_EQ(server_->watches.size(), 3u);
  EXPECT_EQ(server_->watches[0].history(), 0u);
  EXPECT_EQ(server_->watches[1].history(), 7u);
  EXPECT_EQ(server_->watches[1].after_version(), 2u);
  EXPECT_EQ(server_->watches[2].after_version(), 4u);
  EXPECT_EQ(server_->num_reconnects, 1);  // after the missed deadline
}

// However often it breaks: the time to give up in begins anew with each answer.
TEST_F(WatchSessionTest, AServerThatAnswersIsNotGivenUp) {
  for (int index = 0; index < 30; ++index) {
    server_->watch_ends.push_back(absl::UnavailableError("broken"));
  }
  after_message_ = [] {
    absl::SleepFor(absl::Milliseconds(10));
    return absl::OkStatus();
  };
  EXPECT_TRUE(Watch().ok());
  EXPECT_EQ(server_->watches.size(), 31u);
}

TEST_F(WatchSessionTest, AServerThatDoesNotAnswerIs) {
  server_->faults.assign(10000, Fault::kLoseRequest);
  EXPECT_TRUE(absl::IsUnavailable(Watch({.follow = true})));
}

TEST_F(WatchSessionTest, AnotherHistoryAndADeletedSessionAreTheEnd) {
  EXPECT_EQ(ReasonOf(Watch({.history = 8})), "HISTORY_CHANGED");
  server_->watch_ends = {ServerError(absl::StatusCode::kAborted, "SESSION_DELETED")};
  EXPECT_EQ(ReasonOf(Watch({.follow = true})), "SESSION_DELETED");
  EXPECT_EQ(seen_.size(), 5u);
}

TEST_F(WatchSessionTest, AnErrorOfTheTakerEndsItAndIsReturned) {
  after_message_ = [] { return absl::DataLossError("the disk is full"); };
  EXPECT_TRUE(absl::IsDataLoss(Watch()));
  EXPECT_TRUE(seen_.empty());
}

TEST_F(WatchSessionTest, StopEndsItBetweenMessagesAndInSilence) {
  int num_looks = 0;
  options_.retry.stop = [&] { return ++num_looks == 3; };
  EXPECT_TRUE(absl::IsCancelled(Watch({.follow = true})));
  EXPECT_EQ(seen_, (std::vector<uint64_t>{1, 2}));
  int num_idles = 0;
  num_looks = -4;  // past the first message and five steps, in the silence behind them
  EXPECT_TRUE(absl::IsCancelled(Watch({.follow = true, .idle = [&] { ++num_idles; }})));
  EXPECT_EQ(num_idles, 1);
}

}  // namespace
}  // namespace talweg
