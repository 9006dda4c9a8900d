// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/version_line.h"

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

VersionLine::Callback Say(OrderLog& log, const std::string& word) {
  return [&log, word](const absl::Status& status) {
    log.Add(status.ok() ? word : word + ": " + std::string(status.message()));
  };
}

TEST(VersionLineTest, VersionThatIsThereIsNotWaitedFor) {
  VersionLine line;
  OrderLog log;
  EXPECT_EQ(line.Await(0, Say(log, "zero")), 0u);
  line.Reach(3);
  EXPECT_EQ(line.Await(2, Say(log, "two")), 0u);
  EXPECT_EQ(line.Await(3, Say(log, "three")), 0u);
  EXPECT_NE(line.Await(4, Say(log, "four")), 0u);
  EXPECT_THAT(log.words(), ElementsAre("zero", "two", "three"));
}

TEST(VersionLineTest, ThoseWhoWaitAreCalledOnceWhenTheirVersionComes) {
  VersionLine line;
  OrderLog log;
  line.Await(3, Say(log, "three"));
  line.Await(1, Say(log, "one"));
  line.Await(2, Say(log, "two"));
  line.Await(1, Say(log, "one again"));
  line.Reach(1);
  EXPECT_THAT(log.words(), ElementsAre("one", "one again"));
  line.Reach(5);
  line.Reach(6);
  EXPECT_THAT(log.words(), ElementsAre("one", "one again", "two", "three"));
}

TEST(VersionLineTest, ThoseWhoWaitOnlyAsLongAsVersionsComeAreCalledAtTheEnd) {
  VersionLine line;
  OrderLog log;
  line.Await(1, Say(log, "one"));
  const uint64_t forgotten = line.AwaitOrFinish(2, Say(log, "forgotten"));
  line.AwaitOrFinish(3, Say(log, "three"));
  line.Await(3, Say(log, "only three"));
  line.AwaitOrFinish(1, Say(log, "one or the end"));
  EXPECT_TRUE(line.Forget(forgotten));
  EXPECT_FALSE(line.finished());
  line.Reach(1, true);
  EXPECT_THAT(log.words(), ElementsAre("one", "one or the end", "three"));
  EXPECT_TRUE(line.finished());
  // At the end nobody waits for more; a session that goes on has more to come.
  EXPECT_EQ(line.AwaitOrFinish(5, Say(log, "five")), 0u);
  line.Reach(1);
  EXPECT_NE(line.AwaitOrFinish(5, Say(log, "later")), 0u);
  line.Reach(3);
  EXPECT_THAT(log.words(), ElementsAre("one", "one or the end", "three", "five", "only three"));
}

TEST(VersionLineTest, WhoIsForgottenIsNotCalled) {
  VersionLine line;
  OrderLog log;
  const uint64_t place = line.Await(1, Say(log, "one"));
  EXPECT_TRUE(line.Forget(place));
  EXPECT_FALSE(line.Forget(place));
  const uint64_t served = line.Await(1, Say(log, "served"));
  line.Reach(1);
  EXPECT_FALSE(line.Forget(served));
  EXPECT_FALSE(line.Forget(0));
  EXPECT_THAT(log.words(), ElementsAre("served"));
}

TEST(VersionLineTest, EndIsToldToThoseWhoWaitAndToThoseWhoWould) {
  VersionLine line;
  OrderLog log;
  line.Reach(2);
  line.Await(3, Say(log, "three"));
  line.End(absl::UnavailableError("stop"));
  line.End(absl::AbortedError("later"));
  EXPECT_EQ(line.Await(3, Say(log, "late")), 0u);
  line.Await(2, Say(log, "two"));
  EXPECT_THAT(log.words(), ElementsAre("three: stop", "late: stop", "two"));
}

TEST(VersionLineTest, CallbackMayWaitAgain) {
  VersionLine line;
  OrderLog log;
  line.Await(1, [&](const absl::Status&) { line.Await(2, Say(log, "two")); });
  line.Reach(1);
  EXPECT_THAT(log.words(), IsEmpty());
  line.Reach(2);
  EXPECT_THAT(log.words(), ElementsAre("two"));
}

TEST(VersionLineTest, EachWaitEndsOnceWhoeverEndsIt) {
  VersionLine line;
  constexpr int kThreads = 3;
  constexpr int kWaits = 500;
  std::atomic<int> ended{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      for (uint64_t version = 1; version <= kWaits; ++version) {
        const uint64_t place = line.Await(version, [&](const absl::Status&) { ++ended; });
        if (version % 2 == 0 && line.Forget(place)) ++ended;
      }
    });
  }
  for (uint64_t version = 1; version <= kWaits; ++version) line.Reach(version);
  for (std::thread& thread : threads) thread.join();
  line.End(absl::AbortedError("over"));
  EXPECT_EQ(ended, kThreads * kWaits);
}

}  // namespace
}  // namespace talweg::server
