// SPDX-License-Identifier: Apache-2.0
#include "core/session/run_series.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr size_t kCapacity = RunSeries::kCapacity;

RunRecord RecordOf(uint64_t version) {
  RunRecord record;
  record.version = version;
  record.time = absl::UnixEpoch() + absl::Seconds(static_cast<int64_t>(version));
  record.report.loss = static_cast<double>(version) / 2;
  return record;
}

RunSeries SeriesOf(uint64_t num_records) {
  RunSeries series;
  for (uint64_t version = 1; version <= num_records; ++version) series.Append(RecordOf(version));
  return series;
}

std::vector<uint64_t> VersionsOf(const std::vector<RunRecord>& records) {
  std::vector<uint64_t> versions;
  for (const RunRecord& record : records) versions.push_back(record.version);
  return versions;
}

std::vector<uint64_t> VersionsAfter(const RunSeries& series, uint64_t version, size_t limit) {
  std::vector<RunRecord> records;
  series.CopyAfter(version, limit, records);
  return VersionsOf(records);
}

TEST(RunSeriesTest, KeepsEveryRecordWhileThereIsRoom) {
  const RunSeries series = SeriesOf(kCapacity);
  ASSERT_EQ(series.records().size(), kCapacity);
  EXPECT_EQ(series.stride(), 1u);
  for (size_t index = 0; index < kCapacity; ++index) {
    EXPECT_EQ(series.records()[index].version, index + 1);
    EXPECT_EQ(series.records()[index].report.loss, static_cast<double>(index + 1) / 2);
  }
}

TEST(RunSeriesTest, OneMoreThanThereIsRoomForDropsEverySecond) {
  const RunSeries series = SeriesOf(kCapacity + 1);
  ASSERT_EQ(series.records().size(), kCapacity / 2 + 1);
  EXPECT_EQ(series.stride(), 2u);
  for (size_t index = 0; index <= kCapacity / 2; ++index) {
    EXPECT_EQ(series.records()[index].version, 2 * index + 1);
  }
}

// After every single record the first and the newest are there, and all are in order, evenly apart
// and within the bound.
TEST(RunSeriesTest, CoversTheWholeRunEvenlyHoweverLong) {
  RunSeries series;
  for (uint64_t version = 1; version <= 9 * kCapacity; ++version) {
    series.Append(RecordOf(version));
    const std::vector<RunRecord>& records = series.records();
    ASSERT_LE(records.size(), kCapacity);
    ASSERT_EQ(records.front().version, 1u);
    ASSERT_EQ(records.back().version, version);
    ASSERT_EQ(series.newest_version(), version);
    if (version > kCapacity) {
      ASSERT_GE(records.size(), kCapacity / 2);
    }
    // Checks all records only now and then, because that is quadratic.
    const size_t first = version % 97 == 0 || version % kCapacity < 3 ? 1 : records.size() - 1;
    for (size_t index = std::max<size_t>(first, 1); index + 1 < records.size(); ++index) {
      ASSERT_EQ(records[index].version - records[index - 1].version, series.stride()) << version;
    }
    if (records.size() > 1) {
      const uint64_t last_gap = version - records[records.size() - 2].version;
      ASSERT_GE(last_gap, 1u);
      ASSERT_LE(last_gap, series.stride());
    }
  }
  EXPECT_EQ(series.stride(), 16u);
}

TEST(RunSeriesTest, TakesNoMemoryBeyondWhatIsCharged) {
  RunSeries series;
  const RunRecord* const memory = series.records().data();
  for (uint64_t version = 1; version <= 3 * kCapacity; ++version) series.Append(RecordOf(version));
  EXPECT_EQ(series.records().data(), memory);
  EXPECT_EQ(series.records().capacity() * sizeof(RunRecord), RunSeries::kBytes);
}

TEST(RunSeriesTest, TellsWhatIsNewerThanAVersionFromTheOldestOn) {
  const RunSeries series = SeriesOf(10);
  EXPECT_EQ(VersionsAfter(series, 0, 3), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(VersionsAfter(series, 3, 3), (std::vector<uint64_t>{4, 5, 6}));
  EXPECT_EQ(VersionsAfter(series, 8, 3), (std::vector<uint64_t>{9, 10}));
  EXPECT_TRUE(VersionsAfter(series, 10, 3).empty());
  EXPECT_TRUE(VersionsAfter(series, 1000, 3).empty());
  EXPECT_TRUE(VersionsAfter(RunSeries(), 0, 3).empty());
}

// A reader that asks again from the last version that it saw misses no record that is still there.
TEST(RunSeriesTest, GoesOnAfterAVersionThatWasThinnedOut) {
  const RunSeries series = SeriesOf(kCapacity + 1);
  EXPECT_EQ(VersionsAfter(series, 4, 2), (std::vector<uint64_t>{5, 7}));
}

}  // namespace
}  // namespace talweg::core
