// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/generation_records.h"

#include <memory>

#include "core/search/search_config.h"
#include "core/session/config_sections.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

ClosedGeneration Closed(uint64_t version, size_t num_pairs = 1,
                        std::shared_ptr<const core::SessionConfig> config = nullptr) {
  auto record = std::make_shared<core::GenerationRecord>();
  record->version = version;
  record->pairs.resize(num_pairs);
  record->losses.resize(2 * num_pairs);
  return {std::move(record), std::move(config)};
}

TEST(GenerationRecordsTest, FindsWhatItKeepsByItsVersion) {
  GenerationRecords records;
  EXPECT_FALSE(records.Of(1).has_value());
  for (uint64_t version = 5; version < 9; ++version) records.Append(Closed(version));
  for (uint64_t version = 0; version < 12; ++version) {
    const auto found = records.Of(version);
    ASSERT_EQ(found.has_value(), version >= 5 && version < 9) << version;
    EXPECT_TRUE(!found.has_value() || found->record->version == version);
  }
}

TEST(GenerationRecordsTest, KeepsTheNewestThatFit) {
  GenerationRecords records;
  constexpr size_t kPairs = 10'000;  // 200 kB
  uint64_t version = 0;
  while (version < 100) {
    records.Append(Closed(++version, kPairs));
    ASSERT_LE(records.bytes(), core::SearchConfig::kRecordBytes);
    ASSERT_TRUE(records.Of(version).has_value());
  }
  EXPECT_FALSE(records.Of(version - 21).has_value());
  EXPECT_TRUE(records.Of(version - 19).has_value());
  EXPECT_GE(records.bytes(), core::SearchConfig::kRecordBytes - 21 * kPairs);
}

TEST(GenerationRecordsTest, KeepsOneHoweverLargeItIs) {
  GenerationRecords records;
  records.Append(Closed(1));
  records.Append(Closed(2, 1'000'000));
  EXPECT_FALSE(records.Of(1).has_value());
  EXPECT_TRUE(records.Of(2).has_value());
  records.Append(Closed(3));
  EXPECT_FALSE(records.Of(2).has_value());
  EXPECT_TRUE(records.Of(3).has_value());
}

// The largest generation that a session may have, and what is charged for records.
TEST(GenerationRecordsTest, TheLargestGenerationFits) {
  GenerationRecords records;
  records.Append(Closed(1, core::SearchConfig::kMaxPairs));
  EXPECT_LE(records.bytes(), core::SearchConfig::kRecordBytes);
}

TEST(GenerationRecordsTest, AConfigurationCountsOnceForTheGenerationsThatShareIt) {
  const auto configured = [](size_t num_groups) {
    const auto layout =
        std::make_shared<const core::Layout>(*core::Layout::Create({{"w", {1000}}}));
    core::SessionConfig config = core::BlankConfig(layout);
    config.groups.resize(num_groups);
    for (core::ParameterGroup& group : config.groups) group.tensors = "w";
    config.group_map = std::make_shared<const core::GroupMap>(*layout);
    return std::make_shared<const core::SessionConfig>(std::move(config));
  };
  GenerationRecords records;
  const auto grows_by = [&](uint64_t version, std::shared_ptr<const core::SessionConfig> config) {
    const uint64_t before = records.bytes();
    records.Append(Closed(version, 1, std::move(config)));
    return records.bytes() - before;
  };
  const auto first = configured(0);
  const uint64_t with = grows_by(1, first);
  const uint64_t without = grows_by(2, first);
  EXPECT_GT(with, without + sizeof(core::SessionConfig));
  EXPECT_EQ(grows_by(3, configured(0)), with);
  EXPECT_GT(grows_by(4, configured(100)), with + 100 * sizeof(core::ParameterGroup));
  // Another configuration for each version: fewer are kept.
  uint64_t version = 4;
  while (version < 3000) {
    records.Append(Closed(++version, 1, configured(100)));
    ASSERT_LE(records.bytes(), core::SearchConfig::kRecordBytes);
  }
  EXPECT_FALSE(records.Of(version - 500).has_value());
  // Once they are forgotten, nothing of them counts.
  records.Append(Closed(++version, 1'000'000, first));
  records.Append(Closed(++version, 1, first));
  EXPECT_EQ(records.bytes(), with);
}

TEST(GenerationRecordsTest, KeepsNothingOnceItIsClosed) {
  GenerationRecords records;
  records.Append(Closed(1));
  records.Close();
  EXPECT_FALSE(records.Of(1).has_value());
  records.Append(Closed(2));
  EXPECT_FALSE(records.Of(2).has_value());
  EXPECT_EQ(records.bytes(), 0u);
}

}  // namespace
}  // namespace talweg::server
