// SPDX-License-Identifier: Apache-2.0
#include "server/wire/search_to_proto.h"

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/noise/perturbation.h"
#include "google/protobuf/message.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

// Fields that carry nothing: those that are not set, or have the value that stands for that.
std::vector<std::string> BlankFields(const google::protobuf::Message& message) {
  std::vector<std::string> blank;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  for (int index = 0; index < message.GetDescriptor()->field_count(); ++index) {
    const google::protobuf::FieldDescriptor& field = *message.GetDescriptor()->field(index);
    const bool has = field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                                         : reflection.HasField(message, &field);
    if (!has) blank.push_back(field.name());
  }
  return blank;
}
using Names = std::vector<std::string>;

// Every member is something that no other one is.
core::SearchNumbers Numbers() {
  core::SearchNumbers numbers;
  // A member that is not listed here does not compile.
  auto& [generation, num_pairs, num_counted, num_dropped, num_non_finite, num_ties, loss_mean,
         loss_deviation, loss_min, loss_max, evaluated_loss, sigma, weight_norm, signal_to_noise,
         gradient_learning_rate, num_examples, accepted] = numbers;
  generation = 1;
  num_pairs = 2;
  num_counted = 3;
  num_dropped = 4;
  num_non_finite = 5;
  num_ties = 6;
  loss_mean = 7.5;
  loss_deviation = 8.5;
  loss_min = 9.5;
  loss_max = 10.5;
  evaluated_loss = 11.5;
  sigma = 12.5f;
  weight_norm = 13.5;
  signal_to_noise = 14.5;
  gradient_learning_rate = 15.5;
  num_examples = uint64_t{1} << 40;
  accepted = true;
  return numbers;
}

TEST(SearchReportToProtoTest, CarriesEveryNumber) {
  const v1::SearchReport proto = SearchReportToProto(Numbers());
  EXPECT_EQ(BlankFields(proto), Names());
  EXPECT_EQ(proto.generation(), 1u);
  EXPECT_EQ(proto.num_pairs(), 2u);
  EXPECT_EQ(proto.num_counted(), 3u);
  EXPECT_EQ(proto.num_dropped(), 4u);
  EXPECT_EQ(proto.num_non_finite(), 5u);
  EXPECT_EQ(proto.num_ties(), 6u);
  EXPECT_EQ(proto.loss_mean(), 7.5);
  EXPECT_EQ(proto.loss_deviation(), 8.5);
  EXPECT_EQ(proto.loss_min(), 9.5);
  EXPECT_EQ(proto.loss_max(), 10.5);
  EXPECT_EQ(proto.evaluated_loss(), 11.5);
  EXPECT_EQ(proto.sigma(), 12.5f);
  EXPECT_EQ(proto.weight_norm(), 13.5);
  EXPECT_EQ(proto.signal_to_noise(), 14.5);
  EXPECT_EQ(proto.gradient_learning_rate(), 15.5);
  EXPECT_EQ(proto.num_examples(), uint64_t{1} << 40);
  EXPECT_TRUE(proto.accepted());
}

TEST(SearchReportToProtoTest, WhatIsNotKnownIsUnset) {
  const v1::SearchReport proto = SearchReportToProto(core::SearchNumbers());
  EXPECT_FALSE(proto.has_evaluated_loss());
  EXPECT_FALSE(proto.has_signal_to_noise());
  EXPECT_FALSE(proto.has_gradient_learning_rate());
  EXPECT_FALSE(proto.has_accepted());
  core::SearchNumbers zeros;
  zeros.evaluated_loss = zeros.signal_to_noise = zeros.gradient_learning_rate = 0;
  zeros.accepted = false;
  const v1::SearchReport zero = SearchReportToProto(zeros);
  EXPECT_TRUE(zero.has_evaluated_loss() && zero.has_signal_to_noise() &&
              zero.has_gradient_learning_rate() && zero.has_accepted());
}

TEST(GenerationToProtoTest, CarriesEveryNumber) {
  core::GenerationDescription description;
  auto& [generation, version, num_pairs, num_told, num_leased, num_dropped, num_given_up,
         num_given_up_non_finite, needs_evaluation, num_leases, num_waiting, open, closes_in] =
      description;
  generation = 1;
  version = uint64_t{1} << 40;
  num_pairs = 3;
  num_told = 4;
  num_leased = 5;
  num_dropped = 6;
  num_given_up = 9;
  num_given_up_non_finite = uint64_t{1} << 41;
  needs_evaluation = true;
  num_leases = 7;
  num_waiting = 8;
  open = absl::Milliseconds(1500);
  closes_in = absl::Milliseconds(250);
  const v1::OpenGeneration proto = GenerationToProto(description);
  EXPECT_EQ(BlankFields(proto), Names());
  EXPECT_EQ(proto.generation(), 1u);
  EXPECT_EQ(proto.version(), uint64_t{1} << 40);
  EXPECT_EQ(proto.num_pairs(), 3u);
  EXPECT_EQ(proto.num_told(), 4u);
  EXPECT_EQ(proto.num_leased(), 5u);
  EXPECT_EQ(proto.num_dropped(), 6u);
  EXPECT_EQ(proto.num_given_up(), 9u);
  EXPECT_EQ(proto.num_given_up_non_finite(), uint64_t{1} << 41);
  EXPECT_EQ(proto.num_leases(), 7u);
  EXPECT_EQ(proto.num_waiting(), 8u);
  EXPECT_EQ(proto.open_seconds(), 1.5);
  EXPECT_EQ(proto.closes_in_seconds(), 0.25);
  const v1::OpenGeneration blank = GenerationToProto(core::GenerationDescription());
  EXPECT_FALSE(blank.has_open_seconds() || blank.has_closes_in_seconds());
}

// --- Ask.

AskOutcome Leased(uint32_t num_pairs) {
  AskOutcome outcome;
  outcome.history = 7;
  outcome.config.method = core::SearchMethod::kEvolutionStrategy;
  outcome.config.seed = 11;
  outcome.config.noise = core::SearchNoise::kRademacher;
  outcome.config.rank = 3;
  outcome.answer.version = 5;
  outcome.answer.generation = 6;
  outcome.answer.lease =
      core::EvaluationLease{21, 6, 5, 4, num_pairs, 0.25f, absl::Seconds(9), true};
  return outcome;
}

TEST(AskToProtoTest, ALeaseHasEverythingThatAnEvaluationNeeds) {
  v1::AskResponse proto;
  AskToProto(Leased(2), proto);
  ASSERT_TRUE(proto.has_lease());
  const v1::EvaluationLease& lease = proto.lease();
  EXPECT_EQ(BlankFields(lease), Names({"evaluate"}));
  EXPECT_EQ(lease.history(), 7u);
  EXPECT_EQ(lease.generation(), 6u);
  EXPECT_EQ(lease.version(), 5u);
  EXPECT_EQ(lease.point(), v1::POINT_PARAMETERS);
  EXPECT_EQ(lease.first_pair(), 4u);
  EXPECT_EQ(lease.num_pairs(), 2u);
  EXPECT_EQ(lease.sigma(), 0.25f);
  EXPECT_EQ(lease.seed(), 11u);
  EXPECT_EQ(lease.noise(), v1::NOISE_SCHEME_RADEMACHER);
  EXPECT_EQ(lease.rank(), 3u);
  EXPECT_EQ(lease.differences(), v1::DIFFERENCES_CENTRAL);
  EXPECT_EQ(lease.data_seed(), core::DataSeed(11, 6));
  EXPECT_EQ(lease.expires_in_seconds(), 9);
  EXPECT_TRUE(lease.held());
  EXPECT_EQ(lease.lease(), 21u);
}

TEST(AskToProtoTest, TheParametersThemselvesAreALeaseOfNoPairs) {
  v1::AskResponse proto;
  AskToProto(Leased(0), proto);
  EXPECT_TRUE(proto.lease().evaluate());
  EXPECT_EQ(proto.lease().num_pairs(), 0u);
}

TEST(AskToProtoTest, TheLookaheadIsEvaluatedIfTheRuleTakesGradientsThere) {
  AskOutcome outcome = Leased(1);
  outcome.at_lookahead = true;
  v1::AskResponse proto;
  AskToProto(outcome, proto);
  EXPECT_EQ(proto.lease().point(), v1::POINT_LOOKAHEAD);
}

TEST(AskToProtoTest, WhatIsToldOfAPairFollowsFromTheMethod) {
  const struct {
    core::SearchMethod method;
    core::Differences differences;
    v1::Differences expected;
  } rows[] = {
      {core::SearchMethod::kEvolutionStrategy, core::Differences::kCentral,
       v1::DIFFERENCES_CENTRAL},
      {core::SearchMethod::kEvolutionStrategy, core::Differences::kOneSided,
       v1::DIFFERENCES_ONE_SIDED},
      {core::SearchMethod::kEvolutionStrategy, core::Differences::kDirectional,
       v1::DIFFERENCES_DIRECTIONAL},
      {core::SearchMethod::kRandomSearch, core::Differences::kCentral, v1::DIFFERENCES_ONE_SIDED},
  };
  for (const auto& row : rows) {
    AskOutcome outcome = Leased(1);
    outcome.config.method = row.method;
    outcome.config.differences = row.differences;
    v1::AskResponse proto;
    AskToProto(outcome, proto);
    EXPECT_EQ(proto.lease().differences(), row.expected);
  }
}

TEST(AskToProtoTest, NothingAndFinishedAreSaid) {
  AskOutcome outcome = Leased(1);
  outcome.answer.lease.reset();
  v1::AskResponse proto;
  AskToProto(outcome, proto);
  ASSERT_TRUE(proto.has_nothing());
  EXPECT_EQ(BlankFields(proto.nothing()), Names());
  outcome.answer.finished = true;
  AskToProto(outcome, proto);
  ASSERT_TRUE(proto.has_finished());
  EXPECT_EQ(BlankFields(proto.finished()), Names());
}

// --- Tell.

TEST(TellToProtoTest, CarriesVerdictCountsAndWhereTheSessionIs) {
  TellOutcome outcome;
  outcome.answer.verdict = core::TellVerdict::kAccepted;
  outcome.answer.counts = {1, 2, 3, 4};
  outcome.answer.version = 5;
  outcome.answer.generation = 6;
  outcome.answer.finished = true;
  outcome.history = 7;
  outcome.config = Leased(1).config;
  core::StepReport report;
  report.search = std::make_shared<const core::SearchNumbers>(Numbers());
  outcome.report = std::make_shared<const core::StepReport>(report);
  outcome.answer.next = Leased(2).answer.lease;
  v1::TellResponse proto;
  TellToProto(outcome, proto);
  EXPECT_EQ(BlankFields(proto), Names());
  EXPECT_EQ(BlankFields(proto.lease()), Names({"evaluate"}));
  EXPECT_EQ(proto.lease().num_pairs(), 2u);
  EXPECT_EQ(proto.report().search().num_counted(), 3u);
  EXPECT_EQ(proto.num_accepted(), 1u);
  EXPECT_EQ(proto.num_repeated(), 2u);
  EXPECT_EQ(proto.num_to_retry(), 3u);
  EXPECT_EQ(proto.num_dropped(), 4u);
  EXPECT_EQ(proto.version(), 5u);
  EXPECT_EQ(proto.generation(), 6u);
  EXPECT_EQ(proto.history(), 7u);
}

TEST(TellToProtoTest, EveryVerdictHasItsName) {
  for (const auto& [verdict, expected] :
       {std::pair(core::TellVerdict::kAccepted, v1::TELL_VERDICT_ACCEPTED),
        std::pair(core::TellVerdict::kRepeated, v1::TELL_VERDICT_REPEATED),
        std::pair(core::TellVerdict::kLate, v1::TELL_VERDICT_LATE),
        std::pair(core::TellVerdict::kNotLeased, v1::TELL_VERDICT_NOT_LEASED)}) {
    TellOutcome outcome;
    outcome.answer.verdict = verdict;
    v1::TellResponse proto;
    TellToProto(outcome, proto);
    EXPECT_EQ(proto.verdict(), expected);
  }
  EXPECT_EQ(v1::TellVerdict_descriptor()->value_count(), 5);  // and UNSPECIFIED
}

// --- Records.

core::GenerationRecord Record() {
  core::GenerationRecord record;
  record.version = 1;
  record.generation = 2;
  record.num_pairs = 3;
  record.config_version = 4;
  record.learning_rate = 0.125;
  record.sigma = 0.25f;
  record.pairs = {0, 1, 2};
  record.losses = {0.5, -0.5, 1, -1, 2, -2};
  record.evaluated = 0;
  record.parameters_checksum = 0xabcdef01;
  return record;
}

TEST(GenerationRecordToProtoTest, CarriesEverythingThatAReplayNeeds) {
  const v1::GenerationRecord proto = GenerationRecordToProto(Record());
  EXPECT_EQ(BlankFields(proto), Names({"counted", "double_losses"}));
  EXPECT_EQ(proto.version(), 1u);
  EXPECT_EQ(proto.generation(), 2u);
  EXPECT_EQ(proto.num_pairs(), 3u);
  EXPECT_EQ(proto.config_version(), 4u);
  EXPECT_EQ(proto.learning_rate(), 0.125);
  EXPECT_EQ(proto.sigma(), 0.25f);
  EXPECT_EQ(proto.evaluated_loss(), 0);
  EXPECT_EQ(proto.parameters_checksum(), 0xabcdef01u);
  EXPECT_EQ(std::vector<float>(proto.losses().begin(), proto.losses().end()),
            (std::vector<float>{0.5, -0.5, 1, -1, 2, -2}));
  core::GenerationRecord without = Record();
  without.evaluated.reset();
  EXPECT_FALSE(GenerationRecordToProto(without).has_evaluated_loss());
}

TEST(GenerationRecordToProtoTest, OneLossThatFloat32LacksMakesAllOfThemDouble) {
  core::GenerationRecord record = Record();
  record.losses[3] = 0.1;
  const v1::GenerationRecord proto = GenerationRecordToProto(record);
  EXPECT_EQ(proto.losses_size(), 0);
  EXPECT_EQ(std::vector<double>(proto.double_losses().begin(), proto.double_losses().end()),
            record.losses);
}

TEST(GenerationRecordToProtoTest, InfiniteLossesAreFloats) {
  core::GenerationRecord record = Record();
  record.losses[3] = HUGE_VAL;
  record.losses[4] = -HUGE_VAL;
  const v1::GenerationRecord proto = GenerationRecordToProto(record);
  ASSERT_EQ(proto.losses_size(), 6);
  EXPECT_EQ(proto.losses(3), HUGE_VALF);
  EXPECT_EQ(proto.losses(4), -HUGE_VALF);
}

TEST(GenerationRecordToProtoTest, PairsThatCountAreBits) {
  core::GenerationRecord record = Record();
  record.num_pairs = 20;
  record.pairs = {0, 7, 8, 19};
  const std::string counted = GenerationRecordToProto(record).counted();
  EXPECT_EQ(counted, std::string("\x81\x01\x08", 3));
  record.num_pairs = 24;
  record.pairs = {23};
  EXPECT_EQ(GenerationRecordToProto(record).counted(), std::string("\0\0\x80", 3));
}

}  // namespace
}  // namespace talweg::server
