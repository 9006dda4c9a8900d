// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/operation_queue.h"

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Task = OperationQueue::Task;
using Operation = OperationQueue::Operation;

// A pool that runs its tasks only when the test says so.
class Bench {
 public:
  explicit Bench(std::function<Operation()> when_empty = {}, bool busy = false)
      : queue_({[this](Task task) { posted_.push_back(std::move(task)); }, [this] { return held_; },
                std::move(when_empty)},
               busy) {}

  // Runs one posted task; false if there is none.
  bool RunOne() {
    if (posted_.empty()) return false;
    Task task = std::move(posted_.front());
    posted_.pop_front();
    task();
    return true;
  }
  void RunAll() {
    while (RunOne()) {
    }
  }
  // An operation that says `word` and is over at once.
  Operation Say(const std::string& word) {
    return [this, word](Task finished) {
      words_.push_back(word);
      finished();
    };
  }
  // An operation that says `word` and is over when `finish_` is called.
  Operation Begin(const std::string& word) {
    return [this, word](Task finished) {
      words_.push_back(word);
      finish_ = std::move(finished);
    };
  }

  std::vector<std::string> words_;
  std::deque<Task> posted_;
  Task finish_;
  std::shared_ptr<int> held_ = std::make_shared<int>(0);
  OperationQueue queue_;
};

TEST(OperationQueueTest, OperationsRunInOrderAndOneTaskIsPostedForEach) {
  Bench bench;
  bench.queue_.Add(bench.Say("a"));
  bench.queue_.Add(bench.Say("b"));
  EXPECT_EQ(bench.posted_.size(), 1u);
  EXPECT_TRUE(bench.RunOne());
  EXPECT_THAT(bench.words_, ElementsAre("a"));
  EXPECT_EQ(bench.posted_.size(), 1u);
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("a", "b"));
  bench.queue_.Add(bench.Say("c"));
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("a", "b", "c"));
}

TEST(OperationQueueTest, NoOperationBeginsBeforeTheOneUnderWayIsFinished) {
  Bench bench;
  bench.queue_.Add(bench.Begin("long"));
  bench.RunAll();
  bench.queue_.Add(bench.Say("next"));
  bench.queue_.Wake();
  EXPECT_FALSE(bench.RunOne());
  bench.finish_();
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("long", "next"));
}

TEST(OperationQueueTest, QueueThatIsBornBusyBeginsWhenItsOwnerSaysSo) {
  Bench bench({}, /*busy=*/true);
  bench.queue_.Add(bench.Say("a"));
  EXPECT_FALSE(bench.RunOne());
  bench.queue_.Finished();
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("a"));
}

TEST(OperationQueueTest, OwnerIsAskedOnlyWhenNothingWaitsAndUntilItHasNothing) {
  int left = 2;
  int asked = 0;
  Bench* self = nullptr;
  Bench bench([&]() -> Operation {
    ++asked;
    if (left == 0) return nullptr;
    --left;
    return self->Say("idle");
  });
  self = &bench;
  bench.queue_.Add(bench.Say("a"));
  bench.queue_.Add(bench.Say("b"));
  bench.RunOne();
  EXPECT_EQ(asked, 0);
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("a", "b", "idle", "idle"));
  EXPECT_EQ(asked, 3);
  left = 1;
  bench.queue_.Wake();
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("a", "b", "idle", "idle", "idle"));
}

// The owner gets something to do while it answers that it has nothing to do: the wake is not lost.
TEST(OperationQueueTest, WakeWhileTheOwnerIsAskedIsNotLost) {
  bool has_more = false;
  bool woke = false;
  Bench* self = nullptr;
  Bench bench([&]() -> Operation {
    if (has_more) {
      has_more = false;
      return self->Say("woken");
    }
    if (!woke) {
      woke = true;
      has_more = true;
      self->queue_.Wake();
    }
    return nullptr;
  });
  self = &bench;
  bench.queue_.Add(bench.Say("a"));
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("a", "woken"));
}

TEST(OperationQueueTest, ClearDropsWhatHasNotBegun) {
  Bench bench;
  bench.queue_.Add(bench.Begin("under way"));
  bench.RunAll();
  auto memory = std::make_shared<int>(1);
  std::weak_ptr<int> watched = memory;
  bench.queue_.Add([memory = std::move(memory)](Task finished) { finished(); });
  bench.queue_.Clear();
  EXPECT_TRUE(watched.expired());
  bench.finish_();
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("under way"));
}

// What the owner wanted to do beside the operations that were dropped is not forgotten with them.
TEST(OperationQueueTest, ClearAsksTheOwnerWhatElseThereIs) {
  bool has_more = false;
  Bench* self = nullptr;
  Bench bench([&]() -> Operation {
    if (!has_more) return nullptr;
    has_more = false;
    return self->Say("idle");
  });
  self = &bench;
  bench.queue_.Add(bench.Begin("under way"));
  bench.RunAll();
  bench.queue_.Add(bench.Say("dropped"));
  has_more = true;
  bench.queue_.Clear();
  bench.finish_();
  bench.RunAll();
  EXPECT_THAT(bench.words_, ElementsAre("under way", "idle"));
}

TEST(OperationQueueTest, OwnerIsHeldWhileATaskIsPostedOrAnOperationIsUnderWay) {
  Bench bench;
  EXPECT_EQ(bench.held_.use_count(), 1);
  bench.queue_.Add(bench.Begin("a"));
  EXPECT_EQ(bench.held_.use_count(), 2);
  bench.RunAll();
  EXPECT_EQ(bench.held_.use_count(), 2);
  bench.finish_();
  bench.finish_ = nullptr;
  EXPECT_EQ(bench.held_.use_count(), 1);
}

TEST(OperationQueueTest, ManyThreadsAddAndOneAtATimeRuns) {
  ComputePool pool(3);
  constexpr int kAdders = 4, kEach = 500;
  std::atomic<int> inside{0}, most{0}, ran{0};
  Gate done;
  OperationQueue queue(
      {[&](Task task) { pool.Post(std::move(task)); }, [] { return std::shared_ptr<void>(); }});
  for (int adder = 0; adder < kAdders; ++adder) {
    pool.Post([&] {
      for (int index = 0; index < kEach; ++index) {
        queue.Add([&](Task finished) {
          most = std::max(most.load(), ++inside);
          --inside;
          const bool last = ++ran == kAdders * kEach;
          finished();
          if (last) done.Open();
        });
      }
    });
  }
  done.Wait();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(ran, kAdders * kEach);
}

}  // namespace
}  // namespace talweg::server
