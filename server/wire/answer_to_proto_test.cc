// SPDX-License-Identifier: Apache-2.0
#include "server/wire/answer_to_proto.h"

#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(AnswerToProtoTest, CarriesTheVerdictAndTheVersions) {
  auto parameters = std::make_shared<core::Parameters>(3);
  parameters->version = 9;
  auto report = std::make_shared<core::StepReport>();
  report->learning_rate = 0.25;
  StepOutcome outcome;
  outcome.answer.verdict = core::Verdict::kApplied;
  outcome.answer.replayed = true;
  outcome.answer.applied_version = 8;
  outcome.parameters = std::move(parameters);
  outcome.next_learning_rate = 0.125;
  v1::StepResponse response;
  AnswerToProto(outcome, 77, response);
  EXPECT_EQ(response.history(), 77u);
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(response.applied_version(), 8u);
  EXPECT_EQ(response.data_version(), 9u);
  EXPECT_EQ(response.next_learning_rate(), 0.125);
  EXPECT_FALSE(response.has_report());
  EXPECT_EQ(response.sections_size(), 0);
  outcome.answer.report = report;
  AnswerToProto(outcome, 77, response);
  EXPECT_EQ(response.report().learning_rate(), 0.25);
}

TEST(AnswerToProtoTest, ARefusalTellsWhereAndWhatToChange) {
  StepOutcome outcome;
  outcome.answer.verdict = core::Verdict::kRejectedNonFinite;
  outcome.answer.fault = core::GradientFault{"w", 3, true};
  outcome.answer.missed_rounds = 4;
  outcome.answer.advice = core::Advice::kSendHeartbeats;
  outcome.parameters = std::make_shared<core::Parameters>(3);
  v1::StepResponse response;
  AnswerToProto(outcome, 77, response);
  EXPECT_EQ(response.fault().tensor(), "w");
  EXPECT_EQ(response.fault().element(), 3u);
  EXPECT_TRUE(response.fault().may_have_overflowed());
  EXPECT_EQ(response.missed_rounds(), 4u);
  EXPECT_NE(response.advice().find("aggregation.lease_seconds"), std::string::npos);
}

}  // namespace
}  // namespace talweg::server
