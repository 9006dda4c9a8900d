// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/clocks.h"

#include <string>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr absl::Time kNow = absl::UnixEpoch();

class ClocksTest : public ::testing::Test {
 protected:
  uint32_t Insert(const std::string& name, uint64_t clock = 0) {
    const uint32_t index = workers_.Insert(name);
    workers_[index].live = true;
    workers_[index].clock = clock;
    return index;
  }

  Workers workers_;
  Clocks clocks_{/*bounded=*/true};
};

TEST_F(ClocksTest, AWorkerStartsAtTheLeastClock) {
  Worker& first = workers_[Insert("first")];
  clocks_.Count(first, kNow);
  for (int verdict = 0; verdict < 5; ++verdict) clocks_.Advance(first);
  EXPECT_EQ(clocks_.least(), 5u);
  Worker& second = workers_[Insert("second")];
  clocks_.Count(second, kNow);
  EXPECT_EQ(second.clock, 5u);
  EXPECT_EQ(second.progress_from, kNow);
}

TEST_F(ClocksTest, WithoutWorkersTheGreatestThereWasIsTheLeast) {
  Worker& worker = workers_[Insert("a")];
  clocks_.Count(worker, kNow);
  clocks_.Advance(worker);
  clocks_.Advance(worker);
  clocks_.Uncount(worker);
  clocks_.Uncount(worker);
  EXPECT_TRUE(clocks_.empty());
  EXPECT_EQ(clocks_.least(), 2u);
  EXPECT_EQ(clocks_.greatest(), 2u);
}

TEST_F(ClocksTest, OnlyLiveGradientWorkersAreCounted) {
  Worker& dead = workers_[Insert("dead")];
  dead.live = false;
  clocks_.Count(dead, kNow);
  Worker& reader = workers_[Insert("reader")];
  reader.roles = {Role::kStatistics};
  clocks_.Count(reader, kNow);
  clocks_.CountAsSaved(reader);
  EXPECT_TRUE(clocks_.empty());
}

TEST_F(ClocksTest, AheadIsMoreThanAllowedAboveTheLeast) {
  Worker& slow = workers_[Insert("slow")];
  clocks_.Count(slow, kNow);
  Worker fast;
  fast.clock = 2;
  EXPECT_FALSE(clocks_.IsAhead(fast, 2));
  EXPECT_TRUE(clocks_.IsAhead(fast, 1));
  clocks_.Uncount(slow);
  EXPECT_FALSE(clocks_.IsAhead(fast, 0));  // of nobody
}

TEST_F(ClocksTest, HeldAnswersAreLetGoOnceTheSlowestHasComeUp) {
  const uint32_t slow = Insert("slow");
  clocks_.Count(workers_[slow], kNow);
  const uint32_t a = Insert("a", 3), b = Insert("b", 4);
  clocks_.Hold(a, workers_[a]);
  clocks_.Hold(b, workers_[b]);
  EXPECT_TRUE(clocks_.HoldsAnybody(workers_));
  EXPECT_TRUE(clocks_.Holds(a, workers_[a]));
  EXPECT_EQ(clocks_.LetGo(workers_, 1), Workers::kNone);
  clocks_.Advance(workers_[slow]);
  clocks_.Advance(workers_[slow]);
  EXPECT_EQ(clocks_.LetGo(workers_, 1), a);
  EXPECT_FALSE(workers_[a].held);
  EXPECT_EQ(clocks_.LetGo(workers_, 1), Workers::kNone);
  EXPECT_EQ(clocks_.LetGo(workers_, 2), b);  // a wider bound
  EXPECT_FALSE(clocks_.HoldsAnybody(workers_));
}

TEST_F(ClocksTest, AWorkerThatMovedOnIsNotLetGo) {
  const uint32_t a = Insert("a", 3);
  clocks_.Hold(a, workers_[a]);
  workers_[a].held = false;
  EXPECT_FALSE(clocks_.HoldsAnybody(workers_));
  EXPECT_EQ(clocks_.LetGo(workers_, 9), Workers::kNone);
}

TEST(ClocksModeTest, NothingIsCountedInOtherModes) {
  Clocks clocks(/*bounded=*/false);
  Worker worker;
  worker.live = true;
  clocks.Count(worker, kNow);
  clocks.Advance(worker);
  EXPECT_FALSE(worker.counted);
  EXPECT_EQ(worker.clock, 0u);
  worker.clock = 9;
  EXPECT_FALSE(clocks.IsAhead(worker, 0));
}

}  // namespace
}  // namespace talweg::core
