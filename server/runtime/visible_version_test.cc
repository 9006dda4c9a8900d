// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/visible_version.h"

#include <memory>
#include <utility>
#include <vector>

#include "core/base/layout.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

std::shared_ptr<const core::Parameters> Version(uint64_t number) {
  auto parameters = std::make_shared<core::Parameters>(1);
  parameters->version = number;
  return parameters;
}

std::shared_ptr<const core::GroupMap> Map() {
  return std::make_shared<const core::GroupMap>(*core::Layout::Create({{"w", {1}}}));
}

TEST(VisibleVersionTest, NothingIsVisibleBeforeTheFirstVersion) {
  const VisibleVersion visible;
  EXPECT_EQ(visible.Get().parameters, nullptr);
  EXPECT_EQ(visible.Get().group_map, nullptr);
  EXPECT_EQ(visible.number(), 0u);
  EXPECT_EQ(visible.Held(0), nullptr);
}

TEST(VisibleVersionTest, WhatWasPublishedLastIsVisibleWhole) {
  VisibleVersion visible;
  const auto first = Version(0);
  const auto second = Version(1);
  const auto map = Map();
  visible.Publish({first, 0.5, map});
  visible.Publish({second, 0.25, map});
  const VisibleState state = visible.Get();
  EXPECT_EQ(state.parameters, second);
  EXPECT_EQ(state.next_learning_rate, 0.25);
  EXPECT_EQ(state.group_map, map);
  EXPECT_EQ(visible.number(), 1u);
}

TEST(VisibleVersionTest, EarlierVersionIsFoundWhileSomebodyHoldsIt) {
  VisibleVersion visible;
  auto first = Version(0);
  visible.Publish({first, 0, nullptr});
  visible.Publish({Version(1), 0, nullptr});
  EXPECT_EQ(visible.Held(0), first);
  EXPECT_EQ(visible.Held(1), visible.Get().parameters);
  first.reset();
  EXPECT_EQ(visible.Held(0), nullptr);
  EXPECT_EQ(visible.Held(2), nullptr);
}

TEST(VisibleVersionTest, VersionThatIsPublishedTwiceTakesOnePlaceOfSixteen) {
  VisibleVersion visible;
  const auto first = Version(0);
  for (int change = 0; change < 20; ++change) visible.Publish({first, 0.1 * change, nullptr});
  std::vector<std::shared_ptr<const core::Parameters>> later;
  for (uint64_t number = 1; number <= 15; ++number) {
    later.push_back(Version(number));
    visible.Publish({later.back(), 0, nullptr});
  }
  EXPECT_EQ(visible.Held(0), first);
  later.push_back(Version(16));
  visible.Publish({later.back(), 0, nullptr});
  EXPECT_EQ(visible.Held(0), nullptr);
  EXPECT_EQ(visible.Held(1), later.front());
}

TEST(VisibleVersionTest, AfterClearNothingIsVisibleForGood) {
  VisibleVersion visible;
  const auto first = Version(0);
  visible.Publish({first, 0, nullptr});
  visible.Clear();
  EXPECT_EQ(visible.Get().parameters, nullptr);
  EXPECT_EQ(visible.Held(0), nullptr);
  EXPECT_EQ(first.use_count(), 1);
  visible.Publish({Version(1), 0, nullptr});
  EXPECT_EQ(visible.Get().parameters, nullptr);
  EXPECT_EQ(visible.Held(1), nullptr);
}

}  // namespace
}  // namespace talweg::server
