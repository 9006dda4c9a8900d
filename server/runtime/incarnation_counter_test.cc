// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/incarnation_counter.h"

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(IncarnationCounterTest, EachIsLargerThanAllBeforeIt) {
  IncarnationCounter counter;
  EXPECT_EQ(counter.last(), 0u);
  EXPECT_EQ(counter.Issue(), 1u);  // 0 names no incarnation.
  EXPECT_EQ(counter.Issue(), 2u);
  EXPECT_EQ(counter.last(), 2u);
}

TEST(IncarnationCounterTest, ACounterGoesOnAfterTheLastOneThatAStoreKept) {
  IncarnationCounter before;
  for (int i = 0; i < 5; ++i) before.Issue();
  IncarnationCounter after;
  after.ContinueAfter(before.last());
  EXPECT_EQ(after.last(), 5u);
  EXPECT_EQ(after.Issue(), 6u);
  after.ContinueAfter(uint64_t{1} << 40);
  EXPECT_EQ(after.Issue(), (uint64_t{1} << 40) + 1);
}

TEST(IncarnationCounterTest, GoesOnAfterWhatWasKeptAndNeverGoesBack) {
  IncarnationCounter counter;
  EXPECT_EQ(counter.Issue(), 1u);
  counter.ContinueAfter(40);
  EXPECT_EQ(counter.last(), 40u);
  EXPECT_EQ(counter.Issue(), 41u);
  counter.ContinueAfter(7);
  EXPECT_EQ(counter.Issue(), 42u);
}

TEST(IncarnationCounterTest, ThreadsNeverGetTheSame) {
  constexpr size_t kThreads = 4;
  constexpr size_t kEach = 1000;
  IncarnationCounter counter;
  std::vector<std::vector<uint64_t>> issued(kThreads);
  std::vector<std::thread> threads;
  for (std::vector<uint64_t>& mine : issued) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < kEach; ++i) mine.push_back(counter.Issue());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> all;
  for (const std::vector<uint64_t>& mine : issued) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i + 1);
  EXPECT_EQ(counter.last(), kThreads * kEach);
}

}  // namespace
}  // namespace talweg::server
