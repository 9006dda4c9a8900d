// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/version_records.h"

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

// The limit of AggregationConfig::RecordBytes.
constexpr uint64_t kMaxBytes = uint64_t{4} << 20;
constexpr uint64_t kMaxBytesOfSingles = uint64_t{768} << 10;
constexpr size_t kAll = 100000;
constexpr absl::Duration kToWall = absl::Hours(1000);

absl::Time At(int64_t nanoseconds) { return absl::UnixEpoch() + absl::Nanoseconds(nanoseconds); }

core::VersionRecord RecordOf(uint64_t version, size_t num_members, const std::string& name = "w") {
  core::VersionRecord record;
  record.version = version;
  record.config_version = 3;
  record.opened = At(1000);
  record.closed = At(2000);
  record.total_weight = static_cast<double>(num_members);
  for (size_t index = 0; index < num_members; ++index) {
    record.members.push_back({name + std::to_string(index), 7, version, version - 1, 1, At(1500)});
  }
  return record;
}

std::vector<uint64_t> VersionsOf(const VersionRecords::Page& page) {
  std::vector<uint64_t> versions;
  for (const core::VersionRecord& record : page.records) versions.push_back(record.version);
  return versions;
}

TEST(VersionRecordsTest, RecordComesBackWholeWithWallTimes) {
  VersionRecords records(kMaxBytes, kToWall);
  core::VersionRecord record;
  record.version = uint64_t{1} << 63;
  record.config_version = 300;
  record.opened = At(5'000'000'001);
  record.closed = At(7'000'000'000);
  record.total_weight = 0.1;
  record.num_late = 17;
  record.late_workers = {"late", std::string(128, 'x')};
  record.num_expired = 18;
  record.expired_workers = {"gone"};
  record.num_abstained = 19;
  record.abstained_workers = {"idle", "lazy"};
  record.members = {{"a", 1, 2, 3, 0.25f, At(5'000'000'001)},
                    {std::string(128, 'b'), ~uint64_t{0}, uint64_t{1} << 40, record.version - 1,
                     16777216.0f, At(6'999'999'999)}};
  records.Append(record);
  const VersionRecords::Page page = records.After(0, kAll, kAll);
  ASSERT_EQ(page.records.size(), 1u);
  const core::VersionRecord& read = page.records[0];
  EXPECT_EQ(read.version, record.version);
  EXPECT_EQ(read.config_version, record.config_version);
  EXPECT_EQ(read.opened, record.opened + kToWall);
  EXPECT_EQ(read.closed, record.closed + kToWall);
  EXPECT_EQ(read.total_weight, record.total_weight);
  EXPECT_EQ(read.num_late, record.num_late);
  EXPECT_EQ(read.late_workers, record.late_workers);
  EXPECT_EQ(read.num_expired, record.num_expired);
  EXPECT_EQ(read.expired_workers, record.expired_workers);
  EXPECT_EQ(read.num_abstained, record.num_abstained);
  EXPECT_EQ(read.abstained_workers, record.abstained_workers);
  ASSERT_EQ(read.members.size(), 2u);
  for (size_t index = 0; index < 2; ++index) {
    const core::RoundMember& got = read.members[index];
    const core::RoundMember& expected = record.members[index];
    EXPECT_EQ(got.worker, expected.worker);
    EXPECT_EQ(got.incarnation, expected.incarnation);
    EXPECT_EQ(got.sequence, expected.sequence);
    EXPECT_EQ(got.base_version, expected.base_version);
    EXPECT_EQ(got.weight, expected.weight);
    EXPECT_EQ(got.time, expected.time + kToWall);
  }
}

TEST(VersionRecordsTest, PageBeginsAfterItsVersionAndTellsWhetherThereAreMore) {
  VersionRecords records(kMaxBytes, kToWall);
  EXPECT_TRUE(records.After(0, kAll, kAll).records.empty());
  for (uint64_t version = 1; version <= 5; ++version) records.Append(RecordOf(version, 3));
  VersionRecords::Page page = records.After(0, 2, kAll);
  EXPECT_THAT(VersionsOf(page), testing::ElementsAre(1, 2));
  EXPECT_TRUE(page.more);
  page = records.After(3, 2, kAll);
  EXPECT_THAT(VersionsOf(page), testing::ElementsAre(4, 5));
  EXPECT_FALSE(page.more);
  EXPECT_TRUE(records.After(5, 2, kAll).records.empty());
}

TEST(VersionRecordsTest, PageIsShorterWhereItsRecordsHaveManyMembersButNeverEmpty) {
  VersionRecords records(kMaxBytes, kToWall);
  for (uint64_t version = 1; version <= 5; ++version) records.Append(RecordOf(version, 3));
  VersionRecords::Page page = records.After(0, kAll, 8);
  EXPECT_THAT(VersionsOf(page), testing::ElementsAre(1, 2));
  EXPECT_TRUE(page.more);
  page = records.After(0, kAll, 9);
  EXPECT_THAT(VersionsOf(page), testing::ElementsAre(1, 2, 3));
  page = records.After(4, kAll, 2);
  EXPECT_THAT(VersionsOf(page), testing::ElementsAre(5));
  EXPECT_FALSE(page.more);
}

TEST(VersionRecordsTest, OldestGoWhereThereAreTooManyRecords) {
  VersionRecords records(kMaxBytes, kToWall);
  const uint64_t newest = VersionRecords::kMaxRecords + 10;
  for (uint64_t version = 1; version <= newest; ++version) records.Append(RecordOf(version, 1));
  const auto versions = VersionsOf(records.After(0, kAll, kAll));
  EXPECT_EQ(versions.size(), VersionRecords::kMaxRecords);
  EXPECT_EQ(versions.front(), 11u);
  EXPECT_EQ(versions.back(), newest);
}

TEST(VersionRecordsTest, OldestGoWhereThereAreTooManyMembers) {
  VersionRecords records(kMaxBytes, kToWall);
  records.Append(RecordOf(1, 1));
  records.Append(RecordOf(2, VersionRecords::kMaxMembers / 2));
  records.Append(RecordOf(3, VersionRecords::kMaxMembers / 2));
  EXPECT_THAT(VersionsOf(records.After(0, kAll, kAll)), testing::ElementsAre(2, 3));
  // The newest record stays, whatever its size.
  records.Append(RecordOf(4, VersionRecords::kMaxMembers + 1));
  const VersionRecords::Page page = records.After(0, kAll, 5);
  EXPECT_THAT(VersionsOf(page), testing::ElementsAre(4));
  EXPECT_EQ(page.records[0].members.size(), VersionRecords::kMaxMembers + 1);
  records.Append(RecordOf(5, 1));
  EXPECT_THAT(VersionsOf(records.After(0, kAll, kAll)), testing::ElementsAre(5));
}

TEST(VersionRecordsTest, BytesAreBoundedWhateverTheNames) {
  for (const uint64_t max_bytes : {kMaxBytes, kMaxBytesOfSingles}) {
    VersionRecords records(max_bytes, kToWall);
    for (uint64_t version = 1; version <= VersionRecords::kMaxRecords; ++version) {
      records.Append(RecordOf(version, 16, std::string(120, 'n')));
      const auto newest = records.After(version - 1, 1, 1);
      ASSERT_EQ(VersionsOf(newest), std::vector<uint64_t>{version});
      // A record of 16 members needs less than this.
      ASSERT_LE(records.bytes(), max_bytes + 16 * 180);
    }
    EXPECT_GT(records.bytes(), max_bytes - 16 * 180);
  }
}

TEST(VersionRecordsTest, StatisticsAndInversesComeBackToo) {
  VersionRecords records(kMaxBytes, kToWall);
  core::VersionRecord record = RecordOf(12, 1);
  // Statistics may come before the round opens.
  record.statistics = {{"s", 4, 5, 6, 7, At(500)}, {"w0", 7, 12, 11, 16777216, At(1700)}};
  record.installed_inverses = 9;
  record.inverse_version = 8;
  record.loss_change = core::LossChange{11, 1.5, 0.1};
  records.Append(record);
  const core::VersionRecord back = records.After(0, kAll, kAll).records.at(0);
  EXPECT_EQ(back.installed_inverses, 9u);
  EXPECT_EQ(back.inverse_version, 8u);
  EXPECT_EQ(back.loss_change, record.loss_change);
  ASSERT_EQ(back.statistics.size(), 2u);
  EXPECT_EQ(back.statistics[0].worker, "s");
  EXPECT_EQ(back.statistics[0].incarnation, 4u);
  EXPECT_EQ(back.statistics[0].sequence, 5u);
  EXPECT_EQ(back.statistics[0].base_version, 6u);
  EXPECT_EQ(back.statistics[0].num_samples, 7u);
  EXPECT_EQ(back.statistics[1].num_samples, 16777216u);
  EXPECT_EQ(back.members[0].time - back.statistics[0].time, absl::Nanoseconds(1000));
}

TEST(VersionRecordsTest, OrdinaryNamesReachTheNumbersThatArePromised) {
  VersionRecords records(kMaxBytes, kToWall);
  VersionRecords singles(kMaxBytesOfSingles, kToWall);
  for (uint64_t version = 1'000'000; version < 1'000'000 + VersionRecords::kMaxRecords; ++version) {
    records.Append(RecordOf(version, 16, std::string(30, 'n')));
    singles.Append(RecordOf(version, 1, std::string(30, 'n')));
  }
  EXPECT_EQ(VersionsOf(records.After(0, kAll, kAll)).size(), VersionRecords::kMaxRecords);
  EXPECT_EQ(VersionsOf(singles.After(0, kAll, kAll)).size(), VersionRecords::kMaxRecords);
}

TEST(VersionRecordsTest, ClosedKeepsNothing) {
  VersionRecords records(kMaxBytes, kToWall);
  records.Append(RecordOf(1, 1));
  records.Close();
  EXPECT_EQ(records.bytes(), 0u);
  records.Append(RecordOf(2, 1));
  EXPECT_TRUE(records.After(0, kAll, kAll).records.empty());
}

TEST(VersionRecordsTest, ReadersAndTheWriterDoNotDisturbEachOther) {
  VersionRecords records(kMaxBytesOfSingles, kToWall);
  constexpr uint64_t kVersions = 2000;
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&] {
      for (uint64_t seen = 0; seen < kVersions;) {
        for (const core::VersionRecord& record : records.After(seen, 50, kAll).records) {
          EXPECT_EQ(record.version, seen + 1);
          EXPECT_EQ(record.members[0].sequence, record.version);
          seen = record.version;
        }
      }
    });
  }
  for (uint64_t version = 1; version <= kVersions; ++version) records.Append(RecordOf(version, 1));
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace talweg::server
