// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/tensor_walk.h"

#include <utility>
#include <vector>

#include "core/optimizers/optimizer_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(TensorWalkTest, PartsAreTheTensorsOfEachElementInOrder) {
  const ParameterSpace space = SpaceOf(3 * kBlock + 7);
  const Layout& layout = *space.layout;
  std::vector<size_t> expected;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    expected.resize(expected.size() + layout.size_of(tensor), tensor);
  }
  for (const Shard shard : {Shard{0, kBlock}, Shard{kBlock, 3 * kBlock + 7},
                            Shard{0, 3 * kBlock + 7}, Shard{kBlock, kBlock + 1}}) {
    size_t at = shard.begin;
    ForEachTensor(layout, shard, [&](Shard part, size_t tensor) {
      EXPECT_EQ(part.begin, at);
      EXPECT_GT(part.size(), 0u);
      for (; at < part.end; ++at) ASSERT_EQ(tensor, expected[at]) << at;
    });
    EXPECT_EQ(at, shard.end);
  }
}

TEST(TensorWalkTest, BlocksCutAtTheirOwnBounds) {
  std::vector<std::pair<size_t, size_t>> parts;
  ForEachBlock({kBlock - 3, 2 * kBlock + 5},
               [&](Shard part) { parts.emplace_back(part.begin, part.end); });
  const std::vector<std::pair<size_t, size_t>> expected = {
      {kBlock - 3, kBlock}, {kBlock, 2 * kBlock}, {2 * kBlock, 2 * kBlock + 5}};
  EXPECT_EQ(parts, expected);
}

}  // namespace
}  // namespace talweg::core
