// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/kill_plan.h"

#include <gtest/gtest.h>

#include <set>

namespace talweg {
namespace {

const absl::Time kStart = absl::UnixEpoch();
constexpr absl::Duration kPeriod = absl::Seconds(5);
constexpr absl::Duration kLease = absl::Seconds(2);

TEST(KillPlanTest, KillsOncePerPeriodFromOnePeriodOn) {
  KillPlan plan(kPeriod, kLease, 1, kStart);
  const std::vector<bool> running(3, true);
  std::vector<int64_t> kills;
  for (int second = 0; second <= 20; ++second) {
    if (plan.Due(kStart + absl::Seconds(second), running).has_value()) kills.push_back(second);
  }
  EXPECT_EQ(kills, (std::vector<int64_t>{5, 10, 15, 20}));
}

TEST(KillPlanTest, KillsOnlyWhoRunsAndEveryOneOfThemSometime) {
  KillPlan plan(kPeriod, kLease, 1, kStart);
  std::set<size_t> killed;
  for (int i = 1; i <= 200; ++i) {
    const auto victim = plan.Due(kStart + i * kPeriod, {true, false, true, true});
    ASSERT_TRUE(victim.has_value());
    killed.insert(*victim);
  }
  EXPECT_EQ(killed, (std::set<size_t>{0, 2, 3}));
}

TEST(KillPlanTest, WaitsWhereNobodyRunsAndDoesNotMakeUpForAPause) {
  KillPlan plan(kPeriod, kLease, 1, kStart);
  EXPECT_FALSE(plan.Due(kStart + 100 * kPeriod, {false, false}).has_value());
  EXPECT_TRUE(plan.Due(kStart + 100 * kPeriod, {true, true}).has_value());
  EXPECT_FALSE(plan.Due(kStart + 100 * kPeriod, {true, true}).has_value());
}

TEST(KillPlanTest, WithoutAPeriodNobodyIsKilled) {
  KillPlan plan(absl::ZeroDuration(), kLease, 1, kStart);
  EXPECT_FALSE(plan.Due(kStart + absl::Hours(1), {true}).has_value());
}

TEST(KillPlanTest, SomeAreBackWithinTheirLeaseAndSomeAreNot) {
  KillPlan plan(kPeriod, kLease, 1, kStart);
  int within = 0;
  for (int i = 0; i < 100; ++i) {
    const absl::Duration absence = plan.Absence();
    EXPECT_GE(absence, absl::ZeroDuration());
    EXPECT_LT(absence, 2 * kLease);
    if (absence < kLease) ++within;
  }
  EXPECT_GT(within, 25);
  EXPECT_LT(within, 75);
}

}  // namespace
}  // namespace talweg
