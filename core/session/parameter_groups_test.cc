// SPDX-License-Identifier: Apache-2.0
#include "core/session/parameter_groups.h"

#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using testing::ElementsAre;
using testing::FieldsAre;

Layout LayoutOf(const std::vector<std::pair<std::string, uint64_t>>& tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const auto& [name, size] : tensors) specs.push_back({name, {size}});
  return *Layout::Create(std::move(specs));
}

GroupMap MapOf(const Layout& layout, const std::vector<std::string>& patterns) {
  std::vector<ParameterGroup> groups;
  groups.reserve(patterns.size());
  for (const std::string& pattern : patterns) groups.push_back({pattern, {}});
  return *GroupMap::Create(layout, groups);
}

struct Part {
  size_t begin, end, group;
};
std::vector<Part> RunsOf(const GroupMap& map, Shard shard) {
  std::vector<Part> runs;
  map.ForEachRun(shard, [&](Shard part, size_t group) {
    runs.push_back({part.begin, part.end, group});
  });
  return runs;
}

struct Piece {
  size_t begin, end, group, number;
};
std::vector<Piece> PiecesOf(const GroupMap& map, Shard shard) {
  std::vector<Piece> pieces;
  map.ForEachPiece(shard, [&](Shard piece, size_t group, size_t number) {
    pieces.push_back({piece.begin, piece.end, group, number});
  });
  return pieces;
}

TEST(GroupMapTest, WithoutGroupsPiecesAreBlocks) {
  const Layout layout = LayoutOf({{"a", 10}, {"b", kBlock}, {"c", kBlock}});
  const GroupMap map(layout);
  EXPECT_EQ(map.num_groups(), 1u);
  const size_t end = 2 * kBlock + 10;
  EXPECT_THAT(RunsOf(map, {0, end}), ElementsAre(FieldsAre(0, end, 0)));
  EXPECT_THAT(PiecesOf(map, {0, end}),
              ElementsAre(FieldsAre(0, kBlock, 0, 0), FieldsAre(kBlock, 2 * kBlock, 0, 1),
                          FieldsAre(2 * kBlock, end, 0, 2)));
}

TEST(GroupMapTest, FirstGroupThatMatchesTakesTheTensor) {
  const Layout layout = LayoutOf({{"a.w", 3}, {"a.b", 2}, {"c.w", 4}, {"c.b", 1}});
  const GroupMap map = MapOf(layout, {"a.b", "*.b", "a*"});
  EXPECT_EQ(map.num_groups(), 4u);
  EXPECT_EQ(map.GroupOfTensor(0), 3u);
  EXPECT_EQ(map.GroupOfTensor(1), 1u);
  EXPECT_EQ(map.GroupOfTensor(2), 0u);
  EXPECT_EQ(map.GroupOfTensor(3), 2u);
}

TEST(GroupMapTest, NeighboursOfOneGroupAreOneRun) {
  const Layout layout = LayoutOf({{"a1", 3}, {"a2", 5}, {"b", 2}, {"a3", 7}});
  const GroupMap map = MapOf(layout, {"a*"});
  EXPECT_THAT(RunsOf(map, {0, 17}),
              ElementsAre(FieldsAre(0, 8, 1), FieldsAre(8, 10, 0), FieldsAre(10, 17, 1)));
}

TEST(GroupMapTest, RunsThatEndOnABlockBorderLeaveNoEmptyPiece) {
  // A run ends with a block, within one, and with the vector's last whole block.
  const Layout layout =
      LayoutOf({{"a", kBlock}, {"b", kBlock / 2}, {"a2", kBlock / 2}, {"b2", kBlock}});
  const GroupMap map = MapOf(layout, {"b*"});
  const size_t half = kBlock + kBlock / 2;
  EXPECT_THAT(
      PiecesOf(map, {0, 3 * kBlock}),
      ElementsAre(FieldsAre(0, kBlock, 0, 0), FieldsAre(kBlock, half, 1, 2),
                  FieldsAre(half, 2 * kBlock, 0, 3), FieldsAre(2 * kBlock, 3 * kBlock, 1, 5)));
  EXPECT_THAT(RunsOf(map, {kBlock, 2 * kBlock}),
              ElementsAre(FieldsAre(kBlock, half, 1), FieldsAre(half, 2 * kBlock, 0)));
}

// Whatever the shards are, they have the same pieces under the same numbers, each piece once, and
// all numbers are below num_pieces.
TEST(GroupMapTest, ShardsDoNotChangeThePieces) {
  std::vector<std::pair<std::string, uint64_t>> tensors;
  const uint64_t sizes[] = {1, kBlock - 1, kBlock, 3, 2 * kBlock, 17, 5 * kBlock + 9, kBlock - 29};
  for (int round = 0; round < 6; ++round) {
    for (const uint64_t size : sizes) {
      tensors.emplace_back((tensors.size() % 3 == 0 ? "x" : "y") + std::to_string(tensors.size()),
                           size);
    }
  }
  const Layout layout = LayoutOf(tensors);
  const GroupMap map = MapOf(layout, {"x*", "y1*"});
  const size_t size = layout.num_elements();
  const std::vector<Piece> whole = PiecesOf(map, {0, size});
  std::set<size_t> numbers;
  size_t begin = 0;
  for (const Piece& piece : whole) {
    EXPECT_EQ(piece.begin, begin);
    EXPECT_LT(piece.begin, piece.end);
    EXPECT_EQ(piece.begin / kBlock, (piece.end - 1) / kBlock);
    EXPECT_LT(piece.number, map.num_pieces());
    numbers.insert(piece.number);
    begin = piece.end;
  }
  EXPECT_EQ(begin, size);
  EXPECT_EQ(numbers.size(), whole.size());
  for (const size_t shard_elements : {kBlock, 3 * kBlock, kShard}) {
    std::vector<Piece> pieces;
    for (size_t index = 0; index < NumShards(size, shard_elements); ++index) {
      for (const Piece& piece : PiecesOf(map, ShardAt(index, size, shard_elements))) {
        pieces.push_back(piece);
      }
    }
    ASSERT_EQ(pieces.size(), whole.size());
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_THAT(pieces[i],
                  FieldsAre(whole[i].begin, whole[i].end, whole[i].group, whole[i].number));
    }
  }
  // Each element is in the group of its tensor.
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const size_t first = layout.offsets()[tensor];
    const std::vector<Part> runs = RunsOf(map, {first, first + layout.size_of(tensor)});
    ASSERT_THAT(runs, ElementsAre(FieldsAre(first, first + layout.size_of(tensor),
                                            map.GroupOfTensor(tensor))));
  }
}

TEST(GroupConfigTest, EveryRoleIsAFixedFlagOfItsName) {
  EXPECT_EQ(RoleAskedFor(ConfigOf<GroupConfig>()).value(), "");
  for (const absl::string_view role : kGroupRoles) {
    ConfigOf<GroupConfig> group;
    ASSERT_TRUE(group.Set(role, true).ok());
    EXPECT_EQ(RoleAskedFor(group).value(), role);
    for (const FieldInfo& field : group.Fields()) {
      EXPECT_TRUE(field.name != role || field.change == Change::kFixed);
    }
  }
}

// The group of a method that has two roles beside the usual one.
struct TwoRoles {
  bool dense = false;
  bool convolution = false;
  static auto Fields() {
    return std::tuple{
        Field<TwoRoles, bool>{"dense", &TwoRoles::dense, {}, Change::kFixed},
        Field<TwoRoles, bool>{"convolution", &TwoRoles::convolution, {}, Change::kFixed}};
  }
};

TEST(GroupConfigTest, AGroupThatAsksForTwoRolesIsRefusedByName) {
  constexpr absl::string_view kRoles[] = {"dense", "convolution"};
  const auto asked = [&](bool dense, bool convolution) {
    return RoleAskedFor(ConfigOf<TwoRoles>({dense, convolution}), kRoles);
  };
  EXPECT_EQ(asked(false, false).value(), "");
  EXPECT_EQ(asked(true, false).value(), "dense");
  EXPECT_EQ(asked(false, true).value(), "convolution");
  const absl::Status both = asked(true, true).status();
  EXPECT_EQ(ReasonName(both), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(FieldName(both), "convolution");
  EXPECT_EQ(both.message(), "a group has one role, this one asks for dense and for convolution");
}

TEST(GroupMapTest, MemoryGrowsWithTensorsAndRuns) {
  const Layout layout = LayoutOf({{"a", 1}, {"b", 1}, {"c", 1}});
  const uint64_t one_run = GroupMap(layout).memory_bytes();
  EXPECT_GE(one_run, 3 * sizeof(uint32_t));
  EXPECT_GT(MapOf(layout, {"b"}).memory_bytes(), one_run);
}

}  // namespace
}  // namespace talweg::core
