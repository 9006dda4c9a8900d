// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/parameter_pool.h"

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

std::shared_ptr<core::Parameters> TakeMarked(ParameterPool& pool, float mark) {
  std::shared_ptr<core::Parameters> taken = *pool.Take();
  taken->values.data()[0] = mark;
  return taken;
}

float MarkOf(const std::shared_ptr<core::Parameters>& parameters) {
  return parameters->values.data()[0];
}

TEST(ParameterPoolTest, VectorsHaveTheSizeAskedForAndStartAtZero) {
  ParameterPool pool(1000);
  const auto taken = *pool.Take();
  ASSERT_EQ(taken->values.size(), 1000u);
  for (const float value : taken->values.span()) ASSERT_EQ(value, 0);
}

TEST(ParameterPoolTest, AVectorThatIsHeldIsNotGivenAgain) {
  ParameterPool pool(10);
  std::set<const float*> distinct;
  std::vector<std::shared_ptr<core::Parameters>> held;
  for (int count = 0; count < 5; ++count) {
    held.push_back(*pool.Take());
    distinct.insert(held.back()->values.data());
  }
  EXPECT_EQ(distinct.size(), 5u);
}

TEST(ParameterPoolTest, AVectorThatCameBackIsGivenAgainWithItsContents) {
  ParameterPool pool(10);
  TakeMarked(pool, 42).reset();
  EXPECT_EQ(MarkOf(*pool.Take()), 42);
}

TEST(ParameterPoolTest, StepsUseTwoBuffersInTurn) {
  ParameterPool pool(10);
  auto current = TakeMarked(pool, 1);
  auto next = TakeMarked(pool, 2);
  for (int step = 0; step < 10; ++step) {
    const float oldest = MarkOf(current);
    current = std::move(next);
    next = *pool.Take();
    ASSERT_EQ(MarkOf(next), oldest) << step;
  }
}

TEST(ParameterPoolTest, SlowReaderCostsAThirdBufferAndNoMore) {
  ParameterPool pool(10);
  auto current = TakeMarked(pool, 1);
  const auto reader = current;
  auto next = TakeMarked(pool, 2);
  current = std::move(next);
  next = *pool.Take();
  EXPECT_EQ(MarkOf(next), 0);  // new: one is held, the other current
  next->values.data()[0] = 3;
  for (int step = 0; step < 10; ++step) {
    const float oldest = MarkOf(current);
    current = std::move(next);
    next = *pool.Take();
    ASSERT_EQ(MarkOf(next), oldest) << step;
  }
  EXPECT_EQ(MarkOf(reader), 1);
}

TEST(ParameterPoolTest, VersionsBeyondTwoAreChargedWhileTheyLive) {
  MemoryBudget budget(100);
  ParameterPool pool(10, &budget);  // 40 bytes each
  std::vector<std::shared_ptr<core::Parameters>> held;
  for (int index = 0; index < 4; ++index) held.push_back(*pool.Take());
  EXPECT_EQ(budget.used(), 80u);
  const absl::Status refused = pool.Take().status();
  EXPECT_EQ(core::ReasonName(refused), "MEMORY_QUOTA");
  EXPECT_EQ(budget.used(), 80u);
  held.pop_back();  // becomes the spare
  EXPECT_EQ(budget.used(), 80u);
  held.pop_back();
  EXPECT_EQ(budget.used(), 40u);
  held.clear();
  EXPECT_EQ(budget.used(), 0u);
  held.push_back(*pool.Take());
  EXPECT_EQ(budget.used(), 0u);
}

TEST(ParameterPoolTest, OnlyOneSpareIsKept) {
  ParameterPool pool(10);
  auto first = TakeMarked(pool, 1);
  auto second = TakeMarked(pool, 2);
  first.reset();
  second.reset();
  const auto kept = *pool.Take();
  EXPECT_EQ(MarkOf(kept), 1);
  EXPECT_EQ(MarkOf(*pool.Take()), 0);
}

TEST(ParameterPoolTest, WhatItGaveOutOutlivesIt) {
  std::optional<ParameterPool> pool(10);
  auto taken = TakeMarked(*pool, 7);
  pool.reset();
  taken->values.data()[9] = 8;
  EXPECT_EQ(MarkOf(taken), 7);
  taken.reset();  // to the shelf, which nobody takes from any more
}

TEST(ParameterPoolTest, ThreadsNeverShareAVector) {
  ParameterPool pool(4);
  std::atomic<bool> shared{false};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int round = 0; round < 2000; ++round) {
        const auto taken = *pool.Take();
        float* mark = taken->values.data();
        *mark = static_cast<float>(thread);
        std::this_thread::yield();
        if (*mark != static_cast<float>(thread)) shared = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(shared);
}

}  // namespace
}  // namespace talweg::server
