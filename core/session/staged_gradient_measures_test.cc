// SPDX-License-Identifier: Apache-2.0
//
// What is measured of a gradient that is staged: its norms by group, whether it is finite, its
// digest.
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/session/one_worker_testing.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"

namespace talweg::core::one_worker {
namespace {

// A map of three groups that blocks cut anywhere.
std::shared_ptr<const GroupMap> MapOf(const Layout& layout) {
  const std::vector<ParameterGroup> groups = {{"t3", {}}, {"t1", {}}};
  return std::make_shared<const GroupMap>(*GroupMap::Create(layout, groups));
}

TEST(StagedGradientTest, MeasuresDoNotDependOnTheCut) {
  const std::vector<float> gradient = PseudoVector(5, kElements);
  const char* bytes = reinterpret_cast<const char*>(gradient.data());
  StagedGradient by_shard(kElements);
  StagedGradient by_block(kElements);
  by_shard.Begin(MapOf(*SpaceOf(kElements).layout));
  by_block.Begin(MapOf(*SpaceOf(kElements).layout));
  for (size_t index = NumShards(kElements); index-- > 0;) {
    const Shard shard = ShardAt(index, kElements);
    by_shard.Stage(shard, Dtype::kFloat32, bytes + 4 * shard.begin);
  }
  for (size_t index = 0; index < NumBlocks(kElements); ++index) {
    const Shard block = ShardAt(index, kElements, kBlock);
    by_block.Stage(block, Dtype::kFloat32, bytes + 4 * block.begin);
  }
  EXPECT_EQ(by_shard.SquaredNorms(), by_block.SquaredNorms());
  EXPECT_EQ(by_shard.Digest(), by_block.Digest());
  EXPECT_TRUE(by_shard.finite());
}

TEST(StagedGradientTest, NormsAreThoseOfTheGroups) {
  const auto layout = SpaceOf(kElements).layout;
  const std::vector<float> gradient = PseudoVector(5, kElements);
  StagedGradient staged(kElements);
  staged.Begin(MapOf(*layout));
  staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(gradient.data()));
  std::vector<double> expected(3);
  for (size_t tensor = 0; tensor < layout->tensors().size(); ++tensor) {
    const std::string& name = layout->tensors()[tensor].name;
    const size_t group = name == "t3" ? 1 : name == "t1" ? 2 : 0;
    for (uint64_t i = 0; i < layout->size_of(tensor); ++i) {
      const double value = gradient[layout->offsets()[tensor] + i];
      expected[group] += value * value;
    }
  }
  ASSERT_EQ(staged.SquaredNorms().size(), 3u);
  for (size_t group = 0; group < 3; ++group) {
    EXPECT_NEAR(staged.SquaredNorms()[group], expected[group], 1e-12 * expected[group]);
  }
}

TEST(StagedGradientTest, OneBadElementAnywhereIsSeen) {
  const auto map = MapOf(*SpaceOf(kElements).layout);
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    for (const size_t where : {size_t{0}, kBlock - 1, kBlock, size_t{kElements} - 1}) {
      std::vector<float> gradient = PseudoVector(5, kElements);
      gradient[where] = bad;
      StagedGradient staged(kElements);
      staged.Begin(map);
      staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(gradient.data()));
      EXPECT_FALSE(staged.finite()) << bad << " at " << where;
    }
  }
  // The largest floats are finite, all of them together too.
  const std::vector<float> large(kElements, 3.4028235e38f);
  StagedGradient staged(kElements);
  staged.Begin(map);
  staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(large.data()));
  EXPECT_TRUE(staged.finite());
}

TEST(StagedGradientTest, UnalignedBytesAreTaken) {
  const std::vector<float> gradient = PseudoVector(5, 1003);
  std::string bytes(1, 'x');
  bytes.append(reinterpret_cast<const char*>(gradient.data()), gradient.size() * sizeof(float));
  StagedGradient staged(gradient.size());
  staged.Begin(MapOf(*SpaceOf(kElements).layout));
  staged.Stage({0, gradient.size()}, Dtype::kFloat32, bytes.data() + 1);
  EXPECT_EQ(std::memcmp(staged.values().data(), gradient.data(), bytes.size() - 1), 0);
}

TEST(StagedGradientTest, EveryPartOfThePayloadCounts) {
  const uint32_t digest = PayloadDigest(1, 2, {0.5});
  EXPECT_EQ(digest, PayloadDigest(1, 2, {0.5}));
  EXPECT_NE(digest, PayloadDigest(2, 2, {0.5}));
  EXPECT_NE(digest, PayloadDigest(1, 3, {0.5}));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.25}));
  EXPECT_NE(digest, PayloadDigest(1, 2, {}));
  EXPECT_NE(PayloadDigest(1, 2, {0.0}), PayloadDigest(1, 2, {}));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.5}, 2));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.5}, 1, true));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.5}, 1, false, true));
  EXPECT_NE(PayloadDigest(1, 2, {0.5}, 1, true), PayloadDigest(1, 2, {0.5}, 1, false, true));
}

}  // namespace
}  // namespace talweg::core::one_worker
