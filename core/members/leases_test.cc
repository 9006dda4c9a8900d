// SPDX-License-Identifier: Apache-2.0
#include "core/members/leases.h"

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

TEST(LeasesTest, LiveMembersAreCountedInEachOfTheirRoles) {
  Leases leases;
  Member gradient, both;
  both.roles = {Role::kGradient, Role::kSearch};
  EXPECT_TRUE(leases.Begin(gradient));
  EXPECT_TRUE(leases.Begin(both));
  EXPECT_TRUE(gradient.live);
  EXPECT_EQ(leases.num_live(), 2u);
  EXPECT_EQ(leases.num_live(Role::kGradient), 2u);
  EXPECT_EQ(leases.num_live(Role::kSearch), 1u);
  EXPECT_EQ(leases.num_live(Role::kStatistics), 0u);
  EXPECT_TRUE(leases.End(both));
  EXPECT_FALSE(both.live);
  EXPECT_EQ(leases.num_live(), 1u);
  EXPECT_EQ(leases.num_live(Role::kGradient), 1u);
  EXPECT_EQ(leases.num_live(Role::kSearch), 0u);
}

TEST(LeasesTest, AMemberIsCountedOnce) {
  Leases leases;
  Member member;
  EXPECT_FALSE(leases.End(member));
  EXPECT_TRUE(leases.Begin(member));
  EXPECT_FALSE(leases.Begin(member));
  EXPECT_EQ(leases.num_live(), 1u);
  EXPECT_TRUE(leases.End(member));
  EXPECT_FALSE(leases.End(member));
  EXPECT_EQ(leases.num_live(), 0u);
}

TEST(LeasesTest, ALeaseIsOverAtItsEnd) {
  Member member;
  member.lease_end = kStart + absl::Seconds(30);
  EXPECT_FALSE(Leases::IsOver(member, kStart + absl::Seconds(30) - absl::Nanoseconds(1)));
  EXPECT_TRUE(Leases::IsOver(member, kStart + absl::Seconds(30)));
  EXPECT_EQ(Leases::EarliestEnd(member, kStart + absl::Seconds(99)), member.lease_end);
}

TEST(LeasesTest, ACallThatWaitsKeepsTheLease) {
  Member member;
  member.lease_end = kStart;
  member.calls.push_back({1});
  EXPECT_FALSE(Leases::IsOver(member, kStart + absl::Hours(1)));
  EXPECT_EQ(Leases::EarliestEnd(member, kStart + absl::Seconds(99)), kStart + absl::Seconds(99));
}

}  // namespace
}  // namespace talweg::core
