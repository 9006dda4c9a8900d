// SPDX-License-Identifier: Apache-2.0
#include "core/base/shard.h"

#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(ShardTest, ShardsCoverTheVectorOnceInWholeBlocks) {
  for (const size_t size : {size_t{1}, kBlock - 1, kBlock, kBlock + 1, kShard, kShard + 1,
                            5 * kShard + 3 * kBlock + 17}) {
    for (const size_t shard_elements : {kBlock, 3 * kBlock, kShard}) {
      size_t next = 0;
      const size_t count = NumShards(size, shard_elements);
      for (size_t index = 0; index < count; ++index) {
        const Shard shard = ShardAt(index, size, shard_elements);
        EXPECT_EQ(shard.begin, next);
        EXPECT_EQ(shard.begin % kBlock, 0u);
        EXPECT_GT(shard.size(), 0u);
        EXPECT_LE(shard.size(), shard_elements);
        EXPECT_TRUE(shard.end % kBlock == 0 || shard.end == size);
        next = shard.end;
      }
      EXPECT_EQ(next, size);
    }
  }
  EXPECT_EQ(NumShards(0), 0u);
}

TEST(ShardTest, BlocksCountTheShortLastOne) {
  EXPECT_EQ(NumBlocks(0), 0u);
  EXPECT_EQ(NumBlocks(1), 1u);
  EXPECT_EQ(NumBlocks(kBlock), 1u);
  EXPECT_EQ(NumBlocks(kBlock + 1), 2u);
}

TEST(ShardTest, BlocksOfAShardBeginAndEndWithIt) {
  std::vector<Shard> blocks;
  ForEachBlock({10, 2 * kBlock + 5}, [&](Shard block) { blocks.push_back(block); });
  ASSERT_EQ(blocks.size(), 3u);
  EXPECT_EQ(blocks[0].begin, 10u);
  EXPECT_EQ(blocks[0].end, kBlock);
  EXPECT_EQ(blocks[1].end, 2 * kBlock);
  EXPECT_EQ(blocks[2].end, 2 * kBlock + 5);
  blocks.clear();
  ForEachBlock({kBlock, kBlock}, [&](Shard block) { blocks.push_back(block); });
  EXPECT_TRUE(blocks.empty());
}

TEST(ShardTest, ViewIsTheNamedPartItself) {
  const std::vector<float> whole = {0, 1, 2, 3, 4};
  const absl::Span<const float> part = View(absl::MakeConstSpan(whole), {1, 4});
  EXPECT_EQ(part.data(), whole.data() + 1);
  EXPECT_EQ(part.size(), 3u);
}

}  // namespace
}  // namespace talweg::core
