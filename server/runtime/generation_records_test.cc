// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/generation_records.h"

#include <memory>

#include "core/search/search_config.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

ClosedGeneration Closed(uint64_t version, size_t num_pairs = 1) {
  auto record = std::make_shared<core::GenerationRecord>();
  record->version = version;
  record->pairs.resize(num_pairs);
  record->losses.resize(2 * num_pairs);
  return {std::move(record), nullptr};
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
