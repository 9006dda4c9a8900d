// SPDX-License-Identifier: Apache-2.0
#include "server/wire/report_to_proto.h"

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(ReportToProtoTest, CarriesEveryNumber) {
  core::StepReport report;
  report.learning_rate = 0.25;
  report.gradient_norm = 3;
  report.clip_factor = 0.5;
  report.update_norm = 0.75;
  report.staleness = uint64_t{1} << 40;
  report.contributors = 2;
  report.loss = -1.5;
  report.total_weight = 2.5;
  report.num_late = 3;
  report.late_workers = {"a", "b"};
  report.num_losses_left_out = 4;
  report.num_expired = 1;
  report.expired_workers = {"c"};
  report.num_abstained = 2;
  report.abstained_workers = {"d", "e"};
  report.num_non_finite = 6;
  report.state_digest.emplace().fill(0xab);
  const v1::StepReport proto = ReportToProto(report);
  EXPECT_EQ(proto.learning_rate(), 0.25);
  EXPECT_EQ(proto.gradient_norm(), 3);
  EXPECT_EQ(proto.clip_factor(), 0.5);
  EXPECT_EQ(proto.update_norm(), 0.75);
  EXPECT_EQ(proto.staleness(), uint64_t{1} << 40);
  EXPECT_EQ(proto.contributors(), 2u);
  ASSERT_TRUE(proto.has_loss());
  EXPECT_EQ(proto.loss(), -1.5);
  EXPECT_EQ(proto.total_weight(), 2.5);
  EXPECT_EQ(proto.num_late(), 3u);
  ASSERT_EQ(proto.late_workers_size(), 2);
  EXPECT_EQ(proto.late_workers(1), "b");
  EXPECT_EQ(proto.num_losses_left_out(), 4u);
  EXPECT_EQ(proto.num_expired(), 1u);
  ASSERT_EQ(proto.expired_workers_size(), 1);
  EXPECT_EQ(proto.expired_workers(0), "c");
  EXPECT_EQ(proto.num_abstained(), 2u);
  ASSERT_EQ(proto.abstained_workers_size(), 2);
  EXPECT_EQ(proto.abstained_workers(1), "e");
  EXPECT_EQ(proto.num_non_finite(), 6u);
  EXPECT_TRUE(proto.has_first_non_finite());  // element 0
  EXPECT_EQ(proto.state_digest(),
            "abababababababababababababababababababababababababababababababab");
  EXPECT_FALSE(ReportToProto(core::StepReport()).has_state_digest());
}

TEST(ReportToProtoTest, LossThatWasNotSentIsNotZero) {
  EXPECT_FALSE(ReportToProto(core::StepReport()).has_loss());
  core::StepReport zero;
  zero.loss = 0;
  EXPECT_TRUE(ReportToProto(zero).has_loss());
}

TEST(VerdictToProtoTest, EveryVerdictHasItsName) {
  EXPECT_EQ(VerdictToProto(core::Verdict::kApplied), v1::VERDICT_APPLIED);
  EXPECT_EQ(VerdictToProto(core::Verdict::kTooStale), v1::VERDICT_TOO_STALE);
  EXPECT_EQ(VerdictToProto(core::Verdict::kRejectedNonFinite), v1::VERDICT_REJECTED_NON_FINITE);
  EXPECT_EQ(VerdictToProto(core::Verdict::kRoundClosed), v1::VERDICT_ROUND_CLOSED);
  EXPECT_EQ(VerdictToProto(core::Verdict::kAbstained), v1::VERDICT_ABSTAINED);
  EXPECT_EQ(VerdictToProto(core::Verdict::kPending), v1::VERDICT_PENDING);
  // One for each of them, and UNSPECIFIED, which is no verdict.
  EXPECT_EQ(v1::Verdict_descriptor()->value_count(), 7);
}

}  // namespace
}  // namespace talweg::server
