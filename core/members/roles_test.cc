// SPDX-License-Identifier: Apache-2.0
#include "core/members/roles.h"

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(RolesTest, SetHasWhatItWasMadeOf) {
  const Roles none;
  EXPECT_TRUE(none.empty());
  const Roles both = {Role::kGradient, Role::kSearch};
  EXPECT_FALSE(both.empty());
  EXPECT_TRUE(both.Has(Role::kGradient));
  EXPECT_FALSE(both.Has(Role::kStatistics));
  EXPECT_TRUE(both.Has(Role::kSearch));
  EXPECT_NE(both, none);
  EXPECT_EQ(both, (Roles{Role::kSearch, Role::kGradient, Role::kSearch}));
}

TEST(RolesTest, BitsComeBackAndUnknownOnesAreRefused) {
  const Roles some = {Role::kStatistics, Role::kSearch};
  EXPECT_EQ(some.bits(), 6);
  EXPECT_TRUE(Roles::AreValidBits(some.bits()));
  EXPECT_EQ(Roles::FromBits(some.bits()), some);
  EXPECT_FALSE(Roles::AreValidBits(8));
}

}  // namespace
}  // namespace talweg::core
