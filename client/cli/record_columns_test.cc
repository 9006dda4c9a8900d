// SPDX-License-Identifier: Apache-2.0
#include "client/cli/record_columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace talweg {
namespace {

v1::StepRecord Record() {
  v1::StepRecord record;
  record.set_version(12);
  record.mutable_time()->set_seconds(1'700'000'000);
  record.mutable_time()->set_nanos(250'000'000);
  v1::StepReport& report = *record.mutable_report();
  report.set_loss(0.1);
  report.set_learning_rate(1e-3);
  report.set_gradient_norm(2);
  report.set_update_norm(std::numeric_limits<double>::denorm_min());
  report.set_clip_factor(1);
  report.set_staleness(3);
  report.set_contributors(4);
  report.set_total_weight(96.5);
  report.set_num_late(2);
  report.set_num_expired(1);
  report.set_num_abstained(5);
  record.mutable_refusals()->set_too_stale(7);
  record.set_step_seconds(0.5);
  record.set_seconds_since_last(1e300);
  return record;
}

// A number that is added to the wire is a column, under its own name.
TEST(RecordColumnsTest, AreTheNumbersOfTheWire) {
  std::set<std::string> expected;
  const auto add = [&](const google::protobuf::Descriptor& type, const std::string& prefix = "") {
    for (int index = 0; index < type.field_count(); ++index) {
      const auto& field = *type.field(index);
      const bool is_number = field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING;
      if (field.message_type() == nullptr && !field.is_repeated() && is_number) {
        expected.insert(prefix + field.name());
      }
    }
  };
  add(*v1::StepRecord::descriptor());
  add(*v1::StepReport::descriptor());
  add(*v1::RefusalCounts::descriptor());
  add(*v1::SearchReport::descriptor(), "search_");
  add(*v1::CurvatureReport::descriptor(), "curvature_");
  expected.erase("version");
  std::set<std::string> names;
  for (const RecordColumn& column : RecordColumns()) names.insert(column.name);
  EXPECT_EQ(names, expected);
}

TEST(RecordColumnsTest, ALineForAPerson) {
  EXPECT_EQ(
      RecordLine(Record()),
      "version=12 time=2023-11-14T22:13:20.250Z loss=0.1 learning_rate=0.001 gradient_norm=2 "
      "update_norm=4.94066e-324 clip_factor=1 staleness=3 contributors=4 total_weight=96.5 "
      "num_late=2 num_expired=1 num_abstained=5 num_losses_left_out=0 num_non_finite=0 too_stale=7 "
      "rejected_non_finite=0 round_closed=0 step_seconds=0.5 seconds_since_last=1e+300");
}

TEST(RecordColumnsTest, ASearchHasColumnsOfItsOwn) {
  v1::StepRecord record = Record();
  v1::SearchReport& search = *record.mutable_report()->mutable_search();
  search.set_generation(13);
  search.set_loss_max(0.75);
  search.set_sigma(0.5f);
  search.set_accepted(true);
  EXPECT_EQ(RecordLine(record),
            RecordLine(Record()) +
                " search_generation=13 search_num_pairs=0 search_num_counted=0 "
                "search_num_dropped=0 search_num_non_finite=0 search_num_ties=0 search_loss_mean=0 "
                "search_loss_deviation=0 search_loss_min=0 search_loss_max=0.75 search_sigma=0.5 "
                "search_weight_norm=0 search_num_examples=0 search_accepted=1");
}

TEST(RecordColumnsTest, ALineEndsWithTheDigestOfTheState) {
  v1::StepRecord record = Record();
  record.mutable_report()->set_state_digest("4b24");
  EXPECT_EQ(RecordLine(record), RecordLine(Record()) + " state_digest=4b24");
}

TEST(RecordColumnsTest, CsvHasAHeaderAndEveryDigit) {
  v1::StepRecord other = Record();
  other.set_version(13);
  other.mutable_report()->clear_loss();
  other.mutable_report()->set_state_digest("4b24");
  other.mutable_report()->set_gradient_norm(1.0 / 3);
  EXPECT_EQ(
      RecordsCsv({Record(), other}),
      "version,time,loss,learning_rate,gradient_norm,update_norm,clip_factor,staleness,"
      "contributors,total_weight,num_late,num_expired,num_abstained,num_losses_left_out,"
      "num_non_finite,first_non_finite,too_stale,rejected_non_finite,round_closed,step_seconds,"
      "seconds_since_last,search_generation,search_num_pairs,search_num_counted,"
      "search_num_dropped,search_num_non_finite,search_num_ties,search_loss_mean,"
      "search_loss_deviation,search_loss_min,search_loss_max,search_evaluated_loss,search_sigma,"
      "search_weight_norm,search_signal_to_noise,search_gradient_learning_rate,"
      "search_num_examples,search_accepted,curvature_damping,curvature_reduction_ratio,curvature_"
      "step_clip_factor,curvature_inverse_version,curvature_inverse_age_steps,curvature_inverse_"
      "age_seconds,curvature_num_statistics,curvature_num_samples,curvature_num_layers_without_"
      "inverse,curvature_num_raised_dampings,curvature_num_failed_inverses,curvature_num_unclipped_"
      "steps,curvature_num_too_long_steps,state_digest\n"
      "12,2023-11-14T22:13:20.250000Z,0.1,0.001,2,5e-324,1,3,4,96.5,2,1,5,0,0,,7,0,0,0.5,1e+300,"
      ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n"
      "13,2023-11-14T22:13:20.250000Z,,0.001,0.3333333333333333,5e-324,1,3,4,96.5,2,1,5,0,0,,7,0,0,"
      "0.5,1e+300,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,4b24\n");
}

TEST(RecordColumnsTest, WhatIsNotANumberHasNoSign) {
  v1::StepRecord record = Record();
  record.mutable_report()->set_update_norm(
      std::copysign(std::numeric_limits<double>::quiet_NaN(), -1.0));
  EXPECT_THAT(RecordLine(record), ::testing::HasSubstr(" update_norm=nan "));
  EXPECT_THAT(RecordsCsv({record}), ::testing::HasSubstr(",2,nan,1,"));
}

TEST(RecordColumnsTest, SecondsHaveTheirFraction) {
  EXPECT_EQ(RecordSeconds(Record()), 1'700'000'000.25);
}

}  // namespace
}  // namespace talweg
