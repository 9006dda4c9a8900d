// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/memory_budget.h"

#include <atomic>
#include <limits>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(MemoryBudgetTest, ReservationChargesAndGivesBack) {
  MemoryBudget budget(100);
  {
    const absl::StatusOr<MemoryBudget::Reservation> reservation = budget.Reserve(60);
    ASSERT_TRUE(reservation.ok());
    EXPECT_EQ(reservation->bytes(), 60u);
    EXPECT_EQ(budget.used(), 60u);
  }
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.limit(), 100u);
}

TEST(MemoryBudgetTest, ExactlyTheLimitFitsAndOneByteMoreDoesNot) {
  MemoryBudget budget(100);
  EXPECT_FALSE(budget.Reserve(101).ok());
  const auto all = budget.Reserve(100);
  ASSERT_TRUE(all.ok());
  EXPECT_FALSE(budget.Reserve(1).ok());
  EXPECT_TRUE(budget.Reserve(0).ok());
  EXPECT_EQ(budget.used(), 100u);
}

TEST(MemoryBudgetTest, RefusalTellsWhatWasAskedUsedAndAllowedAndTakesNothing) {
  MemoryBudget budget(100);
  const auto held = budget.Reserve(70);
  ASSERT_TRUE(held.ok());
  const absl::Status refused = budget.Reserve(31).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(core::ReasonName(refused), "MEMORY_QUOTA");
  EXPECT_THAT(core::MetadataOf(refused),
              UnorderedElementsAre(Pair("asked_bytes", "31"), Pair("used_bytes", "70"),
                                   Pair("allowed_bytes", "100")));
  EXPECT_EQ(refused.message(), "asked for 31 bytes; 70 bytes of 100 bytes are in use");
  EXPECT_EQ(budget.used(), 70u);
}

TEST(MemoryBudgetTest, RefusalTellsSizesInUnitsAndItsMetadataExactly) {
  MemoryBudget budget(15'158'083'379);
  const auto held = budget.Reserve(187'723'456);
  ASSERT_TRUE(held.ok());
  const absl::Status refused = budget.Reserve(80'000'000'001).status();
  EXPECT_EQ(refused.message(), "asked for 74.5 GiB; 179.0 MiB of 14.1 GiB are in use");
  EXPECT_THAT(
      core::MetadataOf(refused),
      UnorderedElementsAre(Pair("asked_bytes", "80000000001"), Pair("used_bytes", "187723456"),
                           Pair("allowed_bytes", "15158083379")));
}

TEST(MemoryBudgetTest, HugeRequestDoesNotWrapAround) {
  MemoryBudget budget(100);
  const auto held = budget.Reserve(1);
  ASSERT_TRUE(held.ok());
  EXPECT_FALSE(budget.Reserve(std::numeric_limits<uint64_t>::max()).ok());
  EXPECT_EQ(budget.used(), 1u);
}

TEST(MemoryBudgetTest, MovedReservationIsGivenBackOnce) {
  MemoryBudget budget(100);
  std::optional<MemoryBudget::Reservation> keeper;
  {
    auto reserved = budget.Reserve(60);
    ASSERT_TRUE(reserved.ok());
    keeper.emplace(*std::move(reserved));
  }
  EXPECT_EQ(budget.used(), 60u);
  EXPECT_EQ(keeper->bytes(), 60u);

  *keeper = *budget.Reserve(30);
  EXPECT_EQ(budget.used(), 30u);
  EXPECT_EQ(keeper->bytes(), 30u);
  keeper.reset();
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudgetTest, EmptyReservationGivesNothingBack) {
  MemoryBudget budget(100);
  { MemoryBudget::Reservation empty; }
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudgetTest, ThreadsTogetherNeverTakeMoreThanTheLimit) {
  constexpr uint64_t kLimit = 10;
  MemoryBudget budget(kLimit);
  std::atomic<uint64_t> held{0};
  std::atomic<bool> exceeded{false};
  std::atomic<uint64_t> granted{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5000; ++round) {
        const auto reservation = budget.Reserve(4);
        if (!reservation.ok()) continue;
        ++granted;
        if ((held += 4) > kLimit) exceeded = true;
        held -= 4;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(exceeded);
  EXPECT_GT(granted, 0u);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(DefaultMemoryBytesTest, IsSomethingThatTheMachineCanHave) {
  EXPECT_GT(DefaultMemoryBytes(), uint64_t{1} << 20);
  EXPECT_LT(DefaultMemoryBytes(), uint64_t{1} << 50);
}

class LineTest : public ::testing::Test {
 protected:
  // Asks for `bytes`; the reservation is put into got_[index].
  uint64_t Ask(uint64_t bytes, size_t index) {
    const absl::StatusOr<uint64_t> place = budget_.ReserveLater(
        bytes, [this, index](MemoryBudget::Reservation got) { got_[index] = std::move(got); });
    EXPECT_TRUE(place.ok()) << place.status();
    return place.value_or(0);
  }

  MemoryBudget budget_{100};
  std::optional<MemoryBudget::Reservation> got_[5];
};

TEST_F(LineTest, WhoeverFitsIsServedAtOnce) {
  Ask(60, 0);
  ASSERT_TRUE(got_[0].has_value());
  EXPECT_EQ(got_[0]->bytes(), 60u);
  EXPECT_EQ(budget_.used(), 60u);
  EXPECT_FALSE(budget_.AnyoneWaits());
}

TEST_F(LineTest, FirstComeFirstServedWhenMemoryReturns) {
  Ask(60, 0);
  Ask(80, 1);
  Ask(10, 2);  // would fit, but does not go past the caller before
  EXPECT_FALSE(got_[1].has_value() || got_[2].has_value());
  EXPECT_TRUE(budget_.AnyoneWaits());
  got_[0].reset();
  EXPECT_TRUE(got_[1].has_value() && got_[2].has_value());
  EXPECT_EQ(budget_.used(), 90u);
  EXPECT_FALSE(budget_.AnyoneWaits());
}

TEST_F(LineTest, WhoeverLeavesHoldsUpNobody) {
  Ask(60, 0);
  const uint64_t place = Ask(80, 1);
  Ask(10, 2);
  budget_.Forget(place);
  EXPECT_FALSE(got_[1].has_value());
  ASSERT_TRUE(got_[2].has_value());
  budget_.Forget(place);  // again, and for a caller that was served: does nothing
  got_[0].reset();
  EXPECT_FALSE(got_[1].has_value());
  EXPECT_EQ(budget_.used(), 10u);
}

TEST_F(LineTest, WhatIsNotWantedAnyMoreGoesToTheNext) {
  Ask(100, 0);
  EXPECT_TRUE(budget_.ReserveLater(100, [](MemoryBudget::Reservation) {}).ok());
  Ask(100, 1);
  got_[0].reset();
  EXPECT_TRUE(got_[1].has_value());
}

TEST_F(LineTest, WhatCanNeverBeHadIsRefused) {
  const absl::Status refused = budget_.ReserveLater(101, [](MemoryBudget::Reservation) {}).status();
  EXPECT_EQ(core::ReasonName(refused), "MEMORY_QUOTA");
  EXPECT_THAT(core::MetadataOf(refused), ::testing::Contains(Pair("asked_bytes", "101")));
  EXPECT_FALSE(budget_.AnyoneWaits());
}

TEST_F(LineTest, WhoHoldsMemoryIsToldOnceThatSomebodyWaits) {
  Ask(100, 0);
  int told = 0;
  int forgotten = 0;
  budget_.wanted().Listen([&] { ++told; });
  budget_.wanted().Forget(budget_.wanted().Listen([&] { ++forgotten; }));
  Ask(10, 1);
  EXPECT_EQ(told, 1);
  Ask(10, 2);
  EXPECT_EQ(told, 1);
  budget_.wanted().Listen([&] {
    ++told;
    got_[0].reset();
  });
  Ask(10, 3);
  EXPECT_EQ(told, 2);
  EXPECT_FALSE(budget_.AnyoneWaits());
  EXPECT_EQ(budget_.used(), 30u);
  budget_.wanted().Listen([&] { ++told; });
  Ask(10, 4);  // there is room: nobody waits
  EXPECT_EQ(told, 2);
  EXPECT_EQ(forgotten, 0);
}

TEST_F(LineTest, LineIsBounded) {
  Ask(100, 0);
  const auto nothing = [](MemoryBudget::Reservation) {};
  for (size_t index = 0; index < MemoryBudget::kMaxWaiting; ++index) {
    ASSERT_TRUE(budget_.ReserveLater(1, nothing).ok());
  }
  EXPECT_EQ(core::ReasonName(budget_.ReserveLater(1, nothing).status()), "MEMORY_QUOTA");
  got_[0].reset();
  EXPECT_EQ(budget_.used(), 0u);
}

TEST_F(LineTest, EverybodyIsServedOnManyThreads) {
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        ASSERT_TRUE(budget_.ReserveLater(60, [&](MemoryBudget::Reservation) { ++served; }).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, 2000);
  EXPECT_EQ(budget_.used(), 0u);
}

TEST(MemoryBudgetTest, ReservationsGrowAndShrinkWithinTheLimit) {
  MemoryBudget budget(100);
  MemoryBudget::Reservation reservation = *budget.Reserve(40);
  ASSERT_TRUE(reservation.Resize(100).ok());
  EXPECT_EQ(budget.used(), 100u);
  ASSERT_TRUE(reservation.Resize(10).ok());
  EXPECT_EQ(budget.used(), 10u);
  EXPECT_EQ(core::ReasonName(reservation.Resize(101)), "MEMORY_QUOTA");
  EXPECT_EQ(reservation.bytes(), 10u);
  EXPECT_EQ(budget.used(), 10u);
  reservation = {};
  EXPECT_EQ(budget.used(), 0u);
  MemoryBudget::Reservation from_nowhere;
  EXPECT_TRUE(from_nowhere.Resize(1'000'000).ok());
  EXPECT_EQ(from_nowhere.bytes(), 1'000'000u);
}

TEST(MemoryBudgetTest, CheckTellsAndTakesNothing) {
  MemoryBudget budget(100);
  const MemoryBudget::Reservation reservation = *budget.Reserve(40);
  EXPECT_TRUE(budget.Check(60).ok());
  EXPECT_EQ(core::ReasonName(budget.Check(61)), "MEMORY_QUOTA");
  EXPECT_EQ(budget.used(), 40u);
}

}  // namespace
}  // namespace talweg::server
