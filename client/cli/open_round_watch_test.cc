// SPDX-License-Identifier: Apache-2.0
#include "client/cli/open_round_watch.h"

#include <gtest/gtest.h>

namespace talweg {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST(OpenRoundWatchTest, AsksWhenNothingHasMovedForASecond) {
  OpenRoundWatch watch(kNow);
  EXPECT_FALSE(watch.ShouldAsk(kNow));
  EXPECT_FALSE(watch.ShouldAsk(kNow + absl::Milliseconds(999)));
  EXPECT_TRUE(watch.ShouldAsk(kNow + absl::Seconds(1)));
  watch.StepTaken(kNow + absl::Seconds(9));
  EXPECT_FALSE(watch.ShouldAsk(kNow + absl::Seconds(9)));
  EXPECT_FALSE(watch.ShouldAsk(kNow + absl::Milliseconds(9999)));
  EXPECT_TRUE(watch.ShouldAsk(kNow + absl::Seconds(10)));
}

TEST(OpenRoundWatchTest, AsksAtMostOnceASecond) {
  OpenRoundWatch watch(kNow);
  int asked = 0;
  for (int tenths = 0; tenths < 50; ++tenths) {
    if (watch.ShouldAsk(kNow + tenths * absl::Milliseconds(100))) ++asked;
  }
  EXPECT_EQ(asked, 4);
}

TEST(OpenRoundWatchTest, TimeThatPassesIsNoNewsAndEverythingElseIs) {
  OpenRoundWatch watch(kNow);
  v1::OpenRound round;
  EXPECT_TRUE(watch.IsNews(round));
  EXPECT_FALSE(watch.IsNews(round));
  round.set_open_seconds(1);
  round.set_frozen_seconds(2);
  EXPECT_FALSE(watch.IsNews(round));
  round.set_closes_in_seconds(9);  // A deadline is news, that it comes nearer is not.
  EXPECT_TRUE(watch.IsNews(round));
  round.set_closes_in_seconds(8);
  EXPECT_FALSE(watch.IsNews(round));
  round.mutable_contributed()->add_names("a");
  EXPECT_TRUE(watch.IsNews(round));
  round.set_version(9);
  EXPECT_TRUE(watch.IsNews(round));
  EXPECT_FALSE(watch.IsNews(round));
}

}  // namespace
}  // namespace talweg
