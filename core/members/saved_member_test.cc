// SPDX-License-Identifier: Apache-2.0
#include "core/members/saved_member.h"

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using Report = std::shared_ptr<const StepReport>;
using Table = MemberTable<Member>;

constexpr uint32_t kFormat = 4;

Report SomeReport() {
  StepReport report;
  report.learning_rate = 0.5;
  report.gradient_norm = 3;
  report.clip_factor = 0.25;
  report.update_norm = 1.5;
  report.staleness = 2;
  report.contributors = 4;
  report.loss = -1.0;
  report.total_weight = 8;
  report.num_late = 2;
  report.late_workers = {"x", "y"};
  report.num_losses_left_out = 3;
  report.num_expired = 1;
  report.expired_workers = {"z"};
  report.num_abstained = 2;
  report.abstained_workers = {"i", "j"};
  report.num_non_finite = 6;
  report.first_non_finite = 17;
  report.state_digest = Sha256{0x4b, 0x24};
  return std::make_shared<const StepReport>(report);
}

Member::Settled Applied(Report report) {
  return {/*sequence=*/7, /*version=*/5, std::move(report), /*digest=*/0xabcd, Verdict::kApplied};
}

std::string BytesOf(const Member::Settled& settled, const Report& common) {
  ByteWriter writer;
  WriteSettled(settled, common, kFormat, writer);
  return writer.bytes();
}

TEST(SavedMemberTest, IdentityComesBackOnce) {
  Member member;
  member.name = "a";
  member.incarnation = 9;
  ByteWriter writer;
  WriteIdentity(member, writer);
  Table table;
  ByteReader reader(writer.bytes());
  const absl::StatusOr<uint32_t> index = ReadIdentity(reader, table);
  ASSERT_TRUE(index.ok());
  EXPECT_TRUE(reader.End().ok());
  EXPECT_EQ(table.Find("a"), *index);
  EXPECT_EQ(table[*index].incarnation, 9u);
  ByteReader again(writer.bytes());
  EXPECT_EQ(ReasonName(ReadIdentity(again, table).status()), "STATE_CORRUPT");
}

TEST(SavedMemberTest, RolesComeBackAndUnknownOnesAreRefused) {
  ByteWriter writer;
  WriteRoles({Role::kStatistics, Role::kSearch}, writer);
  writer.Byte(8);
  ByteReader reader(writer.bytes());
  Roles roles;
  EXPECT_TRUE(ReadRoles(reader, roles).ok());
  EXPECT_EQ(roles, (Roles{Role::kStatistics, Role::kSearch}));
  EXPECT_EQ(ReasonName(ReadRoles(reader, roles)), "STATE_CORRUPT");
}

TEST(SavedMemberTest, ARememberedAnswerComesBackWithItsReport) {
  const std::string bytes = BytesOf(Applied(SomeReport()), nullptr);
  ByteReader reader(bytes);
  Member::Settled read;
  ASSERT_TRUE(ReadSettled(reader, nullptr, kFormat, read).ok());
  EXPECT_TRUE(reader.End().ok());
  EXPECT_EQ(read.sequence, 7u);
  EXPECT_EQ(read.version, 5u);
  EXPECT_EQ(read.digest, 0xabcdu);
  EXPECT_EQ(read.verdict, Verdict::kApplied);
  ASSERT_NE(read.report, nullptr);
  EXPECT_EQ(read.report->learning_rate, 0.5);
  EXPECT_EQ(read.report->gradient_norm, 3);
  EXPECT_EQ(read.report->clip_factor, 0.25);
  EXPECT_EQ(read.report->update_norm, 1.5);
  EXPECT_EQ(read.report->staleness, 2u);
  EXPECT_EQ(read.report->contributors, 4u);
  EXPECT_EQ(read.report->loss, -1.0);
  EXPECT_EQ(read.report->total_weight, 8);
  EXPECT_EQ(read.report->num_late, 2u);
  EXPECT_THAT(read.report->late_workers, ElementsAre("x", "y"));
  EXPECT_EQ(read.report->num_losses_left_out, 3u);
  EXPECT_EQ(read.report->num_expired, 1u);
  EXPECT_THAT(read.report->expired_workers, ElementsAre("z"));
  EXPECT_EQ(read.report->num_abstained, 2u);
  EXPECT_THAT(read.report->abstained_workers, ElementsAre("i", "j"));
  EXPECT_EQ(read.report->num_non_finite, 6u);
  EXPECT_EQ(read.report->first_non_finite, 17u);
  EXPECT_EQ(read.report->state_digest, (Sha256{0x4b, 0x24}));
}

TEST(SavedMemberTest, AReportOfFormat3EndsWithTheLateWorkers) {
  ByteWriter writer;
  WriteReport(SomeReport(), 3, writer);
  Report read;
  ByteReader reader(writer.bytes());
  ASSERT_TRUE(ReadReport(reader, 3, read).ok());
  EXPECT_TRUE(reader.End().ok());
  EXPECT_THAT(read->late_workers, ElementsAre("x", "y"));
  EXPECT_EQ(read->num_expired, 0u);
  EXPECT_FALSE(read->state_digest.has_value());
}

TEST(SavedMemberTest, ACommonReportIsSharedAgain) {
  const Report common = SomeReport();
  const std::string bytes = BytesOf(Applied(common), common);
  EXPECT_EQ(bytes.size(), 8u + 4u + 1u + 8u + 1u);
  const Report other = SomeReport();
  ByteReader reader(bytes);
  Member::Settled read;
  ASSERT_TRUE(ReadSettled(reader, other, kFormat, read).ok());
  EXPECT_EQ(read.report, other);
}

TEST(SavedMemberTest, ARefusalHasNoReportThoughThereIsNoCommonOne) {
  Member::Settled refused{3, 1, nullptr, 0, Verdict::kTooStale};
  const std::string bytes = BytesOf(refused, nullptr);
  ByteReader reader(bytes);
  Member::Settled read;
  ASSERT_TRUE(ReadSettled(reader, SomeReport(), kFormat, read).ok());
  EXPECT_EQ(read.verdict, Verdict::kTooStale);
  EXPECT_EQ(read.report, nullptr);
}

TEST(SavedMemberTest, NoPrefixAndNoPendingVerdictIsRead) {
  const std::string bytes = BytesOf(Applied(SomeReport()), nullptr);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader reader(absl::string_view(bytes).substr(0, size));
    Member::Settled read;
    EXPECT_EQ(ReasonName(ReadSettled(reader, nullptr, kFormat, read)), "STATE_CORRUPT") << size;
  }
  Member::Settled pending = Applied(nullptr);
  pending.verdict = Verdict::kPending;
  const std::string wrong = BytesOf(pending, nullptr);
  ByteReader reader(wrong);
  Member::Settled read;
  EXPECT_EQ(ReasonName(ReadSettled(reader, nullptr, kFormat, read)), "STATE_CORRUPT");
}

TEST(SavedMemberTest, TooManyNamesAreRefused) {
  StepReport many = *SomeReport();
  many.late_workers.assign(kMaxLateNames + 1, "w");
  ByteWriter writer;
  WriteReport(std::make_shared<const StepReport>(many), kFormat, writer);
  ByteReader reader(writer.bytes());
  Report read;
  EXPECT_EQ(ReasonName(ReadReport(reader, kFormat, read)), "STATE_CORRUPT");
}

}  // namespace
}  // namespace talweg::core
