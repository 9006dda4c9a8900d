// SPDX-License-Identifier: Apache-2.0
#include "client/cli/config_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "client/cli/describe.h"
#include "client/cli/typed_config.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ConfigTextTest, ShowsZerosButNothingUnset) {
  v1::StepReport report;
  report.set_contributors(1);
  EXPECT_EQ(
      FieldsText(report),
      "learning_rate=0 gradient_norm=0 update_norm=0 staleness=0 contributors=1 clip_factor=0 "
      "total_weight=0 num_late=0 num_losses_left_out=0 num_expired=0 num_non_finite=0 "
      "num_abstained=0");
}

TEST(ConfigTextTest, WhatIsNotANumberHasNoSign) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  v1::StepReport report;
  report.set_update_norm(std::copysign(nan, -1.0));
  report.set_loss(-std::numeric_limits<double>::infinity());
  EXPECT_THAT(FieldsText(report), HasSubstr(" update_norm=nan "));
  EXPECT_THAT(FieldsText(report), HasSubstr("loss=-inf"));
  EXPECT_EQ(NumberText(std::copysign(nan, 1.0)), "nan");
  EXPECT_EQ(NumberText(1234567.0), "1.23457e+06");
}

TEST(ConfigTextTest, AResolvedPolicyIsToldWithoutWhatItsModeDoesNotUse) {
  // Every default spelled out, as a server does.
  v1::AggregationPolicy policy;
  for (int i = 0; i < policy.GetDescriptor()->field_count(); ++i) {
    const auto& field = *policy.GetDescriptor()->field(i);
    const bool choice = field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM;
    ASSERT_TRUE(SetField(field.name() + "=" +
                             (choice ? field.enum_type()->value(1)->name().substr(
                                           field.enum_type()->value(0)->name().size() - 11)
                                     : "0"),
                         policy)
                    .ok())
        << field.name();
  }
  policy.set_lease_seconds(30);
  policy.set_gradient_accumulation_steps(1);
  policy.set_min_workers(1);
  EXPECT_EQ(PolicyText(policy),
            "mode=ASYNCHRONOUS max_staleness=0 lease_seconds=30 gradient_accumulation_steps=1");
  policy.set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  policy.set_max_rounds_ahead(2);
  EXPECT_EQ(PolicyText(policy),
            "mode=BOUNDED_STALENESS max_staleness=0 lease_seconds=30 max_rounds_ahead=2");
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_max_rounds_ahead(0);
  EXPECT_EQ(
      PolicyText(policy),
      "mode=SYNCHRONOUS max_staleness=0 lease_seconds=30 close=ALL too_few=WAIT min_workers=1 "
      "reduction=MEAN reduce_order=ANY stale_scale=NONE");
}

TEST(ConfigTextTest, AZeroThatAResolvedPolicyUsesIsTold) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
  policy.set_max_rounds_ahead(0);
  EXPECT_EQ(SetFields("trim_fraction=0", policy)->size(), 1u);
  EXPECT_TRUE(policy.has_trim_fraction());
  EXPECT_THAT(PolicyText(policy), HasSubstr(" reduction=TRIMMED_MEAN trim_fraction=0"));
  EXPECT_THAT(PolicyText(policy), Not(HasSubstr("max_rounds_ahead")));
  policy.set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  EXPECT_THAT(PolicyText(policy), HasSubstr(" max_rounds_ahead=0"));
}

TEST(DescribeTest, SettingsOfAStepAreShownWhereThereAreAny) {
  v1::Session session;
  EXPECT_THAT(SessionTable(session), Not(HasSubstr("clipping")));
  EXPECT_THAT(SessionTable(session), Not(HasSubstr("groups")));
  session.mutable_config()->mutable_clipping()->set_max_norm(2);
  session.mutable_config()->mutable_weight_decay()->set_decoupled(0.01);
  session.mutable_config()->mutable_average()->set_decay(0.999);
  ASSERT_TRUE(ParseGroups("b=frozen", *session.mutable_config()).ok());
  const std::string table = SessionTable(session);
  EXPECT_THAT(table, HasSubstr("max_norm=2"));
  EXPECT_THAT(table, HasSubstr("decoupled=0.01"));
  EXPECT_THAT(table, HasSubstr("decay=0.999"));
  EXPECT_THAT(table, HasSubstr("b=frozen"));
}

TEST(DescribeTest, ASessionTellsItsPolicyAndItsLiveWorkers) {
  v1::Session session;
  ASSERT_TRUE(SetFields("mode=SYNCHRONOUS,close=DEADLINE,close_seconds=2.5",
                        *session.mutable_config()->mutable_aggregation())
                  .ok());
  session.set_num_workers(5);
  session.set_num_live_workers(4);
  const std::string table = SessionTable(session);
  EXPECT_THAT(table, HasSubstr("mode=SYNCHRONOUS"));
  EXPECT_THAT(table, HasSubstr("close=DEADLINE close_seconds=2.5"));
  EXPECT_THAT(table, HasSubstr("5 joined, 4 live"));
}

TEST(DescribeTest, AVersionTellsWhoMadeItAndWhoWasLate) {
  EXPECT_EQ(VersionRecordsTable({}), "no records\n");
  v1::VersionRecord record;
  record.set_version(1200);
  record.mutable_open_time()->set_seconds(1000000000);
  record.mutable_open_time()->set_nanos(250000000);
  record.mutable_close_time()->set_seconds(1000000002);
  record.set_total_weight(96.5);
  for (const char* worker : {"w0", "w1", "w2", "w3", "w4", "w5"}) {
    v1::VersionMember& member = *record.add_members();
    member.set_worker(worker);
    member.set_base_version(1199);
  }
  record.mutable_members(2)->set_base_version(1196);
  record.set_num_late(2);
  record.add_late_workers("slow");
  record.add_late_workers("slower");
  EXPECT_EQ(VersionRecordsTable({record}),
            "version  opened                   seconds  weight  staleness  contributors        "
            "late\n"
            "  1,200  2001-09-09 01:46:40 UTC    1.750    96.5          3  6: w0 w1 w2 w3 ...  "
            "2: slow slower\n");
  record.set_num_expired(1);
  record.add_expired_workers("gone");
  EXPECT_THAT(VersionRecordsTable({record}), HasSubstr("2: slow slower  1: gone\n"));
  StepResult result;
  result.verdict = v1::VERDICT_APPLIED;
  result.report.emplace().set_num_late(1);
  result.report->add_late_workers("slow");
  EXPECT_THAT(StepTable(result), HasSubstr("1: slow\n"));
  result.report->set_num_late(2);
  EXPECT_THAT(StepTable(result), HasSubstr("2: slow ...\n"));
}

TEST(DescribeTest, PendingContributionWaitsForItsVersion) {
  StepResult result;
  result.verdict = v1::VERDICT_PENDING;
  result.applied_version = 7;
  EXPECT_THAT(StepTable(result), HasSubstr("PENDING"));
  EXPECT_THAT(StepTable(result), HasSubstr("waits for version"));
}

}  // namespace
}  // namespace talweg
