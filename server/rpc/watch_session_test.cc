// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/watch_session.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

constexpr uint64_t kHistory = 77;

core::RunRecord RecordOf(uint64_t version) {
  core::RunRecord record;
  record.version = version;
  return record;
}

// A reader that takes a message when the test says so.
class TestOutput final : public Watch::Output {
 public:
  void Write(const v1::WatchSessionResponse& message) override {
    Change([&] {
      EXPECT_FALSE(writing_) << "a second message before the first has gone out";
      writing_ = true;
      messages_.push_back(message);
    });
  }
  void Cut() override {
    Change([&] { cut_ = true; });
    if (on_cut) on_cut();
  }
  void End(const absl::Status& status) override {
    Change([&] {
      EXPECT_FALSE(ended_.has_value()) << "ended twice";
      ended_ = status;
    });
  }

  // The versions of message number `index`, once it is there.
  std::vector<uint64_t> Message(size_t index) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return messages_.size() > index; });
    std::vector<uint64_t> versions;
    for (const v1::StepRecord& record : messages_[index].records()) {
      versions.push_back(record.version());
    }
    EXPECT_EQ(messages_[index].history(), kHistory);
    return versions;
  }
  void Take(Watch& watch, bool ok = true) {
    Change([&] { writing_ = false; });
    watch.Written(ok);
  }
  absl::Status Ended() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ended_.has_value(); });
    return *ended_;
  }
  bool HasEnded() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ended_.has_value();
  }
  // Waits for the end of the watch or for a message to take. Returns true if it is the end.
  bool EndsWithoutReading() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ended_.has_value() || writing_; });
    return ended_.has_value();
  }
  size_t num_messages() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return messages_.size();
  }
  bool cut() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return cut_;
  }
  std::function<void()> on_cut;

 private:
  template <class Work>
  void Change(Work work) {
    // Told under the lock: the test that waits for the end may destroy the output then.
    const std::lock_guard<std::mutex> lock(mutex_);
    work();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::WatchSessionResponse> messages_;
  bool writing_ = false;
  bool cut_ = false;
  std::optional<absl::Status> ended_;
};

class WatchTest : public ::testing::Test {
 protected:
  void Steps(uint64_t first, uint64_t last) {
    for (uint64_t version = first; version <= last; ++version) feed_->Append(RecordOf(version));
  }
  std::shared_ptr<Watch> Start(bool follow, uint64_t after_version = 0) {
    v1::WatchSessionRequest request;
    request.set_follow(follow);
    request.set_after_version(after_version);
    auto watch = std::make_shared<Watch>(feed_, kHistory, request, gate_, pool_, output_);
    watch->Start();
    return watch;
  }
  // Until the watch waits in the feed: it wakes for nobody then.
  void UntilItWaits(Watch& watch) {
    while (!feed_->Forget(watch)) std::this_thread::yield();
    ASSERT_TRUE(feed_->Await(UINT64_MAX, watch));
  }

  const std::shared_ptr<StepFeed> feed_ = std::make_shared<StepFeed>();
  DrainGate gate_;
  TestOutput output_;
  ComputePool pool_{2};
};

TEST_F(WatchTest, TellsWhatIsThereAndEnds) {
  Steps(1, 3);
  const auto watch = Start(/*follow=*/false);
  EXPECT_EQ(output_.Message(0), (std::vector<uint64_t>{1, 2, 3}));
  // What comes after it began is not waited for, and not told.
  output_.Take(*watch);
  EXPECT_TRUE(output_.Ended().ok());
  EXPECT_EQ(output_.num_messages(), 1u);
}

TEST_F(WatchTest, FirstMessageComesEvenIfNothingIsThere) {
  const auto watch = Start(/*follow=*/false);
  EXPECT_TRUE(output_.Message(0).empty());
  output_.Take(*watch);
  EXPECT_TRUE(output_.Ended().ok());
}

TEST_F(WatchTest, AMessageHasABoundedNumberOfRecords) {
  Steps(1, Watch::kMaxRecords + 1);
  const auto watch = Start(/*follow=*/false);
  EXPECT_EQ(output_.Message(0).size(), Watch::kMaxRecords);
  output_.Take(*watch);
  EXPECT_EQ(output_.Message(1), (std::vector<uint64_t>{Watch::kMaxRecords + 1}));
  output_.Take(*watch);
  EXPECT_TRUE(output_.Ended().ok());
}

TEST_F(WatchTest, FollowsEachNewStep) {
  Steps(1, 2);
  const auto watch = Start(/*follow=*/true, /*after_version=*/1);
  EXPECT_EQ(output_.Message(0), (std::vector<uint64_t>{2}));
  output_.Take(*watch);
  for (uint64_t version = 3; version <= 100; ++version) {
    Steps(version, version);
    EXPECT_EQ(output_.Message(version - 2), (std::vector<uint64_t>{version}));
    output_.Take(*watch);
  }
  watch->Cancelled();
  EXPECT_TRUE(absl::IsCancelled(output_.Ended()));
}

// It is owed nothing: however long it does not read, what it costs is its one message, and when it
// reads again it sees the whole run in a bounded number of records.
TEST_F(WatchTest, ASlowReaderIsToldFewerRecords) {
  constexpr uint64_t kSteps = 10 * core::RunSeries::kCapacity;
  Steps(1, 1);
  const auto watch = Start(/*follow=*/true);
  EXPECT_EQ(output_.Message(0), (std::vector<uint64_t>{1}));
  Steps(2, kSteps);
  EXPECT_EQ(output_.num_messages(), 1u);
  size_t num_records = 0;
  uint64_t last = 1;
  for (size_t index = 1; last < kSteps; ++index) {
    output_.Take(*watch);
    for (const uint64_t version : output_.Message(index)) {
      EXPECT_GT(version, last);
      last = version;
      ++num_records;
    }
  }
  EXPECT_LE(num_records, core::RunSeries::kCapacity);
  output_.Take(*watch);
  UntilItWaits(*watch);
  watch->Cancelled();
  EXPECT_TRUE(absl::IsCancelled(output_.Ended()));
}

TEST_F(WatchTest, ADeletedSessionEndsIt) {
  const auto watch = Start(/*follow=*/true);
  output_.Message(0);
  output_.Take(*watch);
  UntilItWaits(*watch);
  feed_->Close();
  EXPECT_EQ(core::ReasonName(output_.Ended()), "SESSION_DELETED");
}

TEST_F(WatchTest, AServerThatStopsEndsIt) {
  const auto watch = Start(/*follow=*/true);
  output_.Message(0);
  output_.Take(*watch);
  UntilItWaits(*watch);
  gate_.Close();
  watch->Stir();
  EXPECT_EQ(core::ReasonName(output_.Ended()), "DRAINING");
}

TEST_F(WatchTest, OneThatIsNotWaitingWhenTheServerStopsEndsAtItsNextTurn) {
  const auto watch = Start(/*follow=*/true);
  output_.Message(0);
  gate_.Close();
  watch->Stir();
  // This holds also if the watch had looked at the gate already, and was about to wait.
  EXPECT_FALSE(feed_->Await(UINT64_MAX, *watch));
  output_.Take(*watch);
  EXPECT_EQ(core::ReasonName(output_.Ended()), "DRAINING");
}

TEST_F(WatchTest, OneThatDoesNotReadIsCutOff) {
  const auto watch = Start(/*follow=*/true);
  output_.Message(0);
  watch->CutIfWriting();
  EXPECT_TRUE(output_.cut());
  output_.Take(*watch, /*ok=*/false);
  EXPECT_TRUE(absl::IsCancelled(output_.Ended()));
}

// The line may be gone as soon as it has ended: not while it is being cut.
TEST_F(WatchTest, ALineIsNotEndedWhileItIsCut) {
  const auto watch = Start(/*follow=*/true);
  output_.Message(0);
  bool ended_too_early = false;
  output_.on_cut = [&] {
    std::thread([&] { output_.Take(*watch, /*ok=*/false); }).join();
    ended_too_early = output_.HasEnded();
  };
  watch->CutIfWriting();
  EXPECT_FALSE(ended_too_early);
  EXPECT_TRUE(absl::IsCancelled(output_.Ended()));
}

TEST_F(WatchTest, OneThatWaitsIsNotCutOff) {
  const auto watch = Start(/*follow=*/true);
  output_.Message(0);
  output_.Take(*watch);
  UntilItWaits(*watch);
  watch->CutIfWriting();
  EXPECT_FALSE(output_.cut());
  watch->Cancelled();
  EXPECT_TRUE(absl::IsCancelled(output_.Ended()));
}

// Leaving, steps and a write that comes back, all at the same time: it ends exactly once.
TEST_F(WatchTest, WhoeverComesFirstItEndsOnce) {
  for (int round = 0; round < 300; ++round) {
    TestOutput output;
    v1::WatchSessionRequest request;
    request.set_follow(true);
    const auto feed = std::make_shared<StepFeed>();
    const auto watch = std::make_shared<Watch>(feed, kHistory, request, gate_, pool_, output);
    watch->Start();
    output.Message(0);
    std::thread stepping([&] { feed->Append(RecordOf(1)); });
    std::thread leaving([&] {
      if (round % 2 == 0) watch->Cancelled();
      feed->Close();
    });
    output.Take(*watch);
    stepping.join();
    leaving.join();
    // It may have gone on to write before it saw the end.
    if (!output.EndsWithoutReading()) output.Take(*watch);
    EXPECT_FALSE(output.Ended().ok());
  }
}

}  // namespace
}  // namespace talweg::server
