// SPDX-License-Identifier: Apache-2.0
//
// The fields of a message and of a table are matched by name, and their values travel both ways.
#include "server/wire/config_fields.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "core/base/choice.h"
#include "core/base/reasons.h"
#include "core/optimizers/registry.h"
#include "core/schedules/schedule.h"
#include "core/session/session_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "talweg/v1/session.pb.h"

namespace talweg::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using ::testing::HasSubstr;

TEST(ConfigFieldsTest, EveryDefaultIsSpelledOutAndReadBackTheSame) {
  v1::Optimizer optimizer;
  for (const core::Method& method : core::Methods()) {
    const FieldDescriptor* field =
        optimizer.GetDescriptor()->FindFieldByName(std::string(method.name));
    ASSERT_NE(field, nullptr) << method.name;
    Message& message = *optimizer.GetReflection()->MutableMessage(&optimizer, field);
    const std::unique_ptr<core::Config> written = method.default_config();
    WriteFields(*written, message);

    std::vector<const FieldDescriptor*> set;
    message.GetReflection()->ListFields(message, &set);
    EXPECT_EQ(set.size(), written->Fields().size()) << method.name;
    const std::unique_ptr<core::Config> read = method.default_config();
    ASSERT_TRUE(ReadFields(message, *read).ok()) << method.name;
    for (const core::FieldInfo& info : written->Fields()) {
      EXPECT_EQ(read->Get(info.name), written->Get(info.name)) << method.name << "." << info.name;
    }
  }
}

TEST(ConfigFieldsTest, ValuesTravelBothWays) {
  v1::Adam adam;
  adam.set_beta1(0.5);
  adam.set_epsilon(1e-3);
  adam.set_dialect(v1::DIALECT_PAPER);
  adam.set_amsgrad(true);
  const auto config = core::FindMethod("adam")->default_config();
  ASSERT_TRUE(ReadFields(adam, *config).ok());
  EXPECT_EQ(config->Get("beta1"), core::FieldValue(0.5));
  EXPECT_EQ(config->Get("beta2"), core::FieldValue(0.999));
  EXPECT_EQ(config->Get("epsilon"), core::FieldValue(1e-3));
  EXPECT_EQ(config->Get("dialect"), core::FieldValue(core::Dialect::kPaper));
  EXPECT_EQ(config->Get("amsgrad"), core::FieldValue(true));

  v1::Adam written;
  WriteFields(*config, written);
  adam.set_beta2(0.999);
  EXPECT_EQ(written.SerializeAsString(), adam.SerializeAsString());
}

TEST(ConfigFieldsTest, ZeroThatIsSetIsNotTheDefault) {
  v1::Adam adam;
  adam.set_beta1(0);
  adam.set_amsgrad(false);
  const auto config = core::FindMethod("adam")->default_config();
  ASSERT_TRUE(ReadFields(adam, *config).ok());
  EXPECT_EQ(config->Get("beta1"), core::FieldValue(0.0));
}

TEST(ConfigFieldsTest, AFieldThatIsNeededMayBeZeroButNotUnset) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
  policy.set_max_workers(16);
  core::ConfigOf<core::AggregationConfig> config;
  const absl::Status status = ReadFields(policy, config);
  EXPECT_EQ(core::ReasonName(status), "FIELD_REQUIRED");
  EXPECT_EQ(core::FieldName(status), "trim_fraction");
  EXPECT_EQ(status.message(), "trim_fraction is required with reduction TRIMMED_MEAN");
  policy.set_trim_fraction(0);
  config = {};
  EXPECT_TRUE(ReadFields(policy, config).ok());
  EXPECT_EQ(config.value().trim_fraction, 0);
}

TEST(ConfigFieldsTest, AFieldThatIsNeededAndUnsetIsToldFromOneThatIsZero) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_close(v1::CLOSE_RULE_COUNT);
  core::ConfigOf<core::AggregationConfig> config;
  EXPECT_EQ(core::ReasonName(ReadFields(policy, config)), "FIELD_REQUIRED");
  policy.set_close_count(0);
  config = {};
  const absl::Status status = ReadFields(policy, config);
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "close_count");
}

// Zero is a value like any other: a field whose range has it may be set to it.
TEST(ConfigFieldsTest, EveryZeroThatIsAllowedIsTaken) {
  size_t taken = 0;
  const auto try_each = [&](const Message& prototype, const core::Config& defaults,
                            const std::string& table) {
    for (const core::FieldInfo& info : defaults.Fields()) {
      const FieldDescriptor& field =
          *prototype.GetDescriptor()->FindFieldByName(std::string(info.name));
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) continue;
      const std::unique_ptr<core::Config> config = defaults.Clone();
      core::FieldValue zero = info.default_value;
      std::visit([](auto& value) { value = {}; }, zero);
      if (!config->Set(info.name, zero).ok()) continue;  // Zero is out of its range.
      const std::unique_ptr<Message> message(prototype.New());
      WriteFields(*config, *message);
      EXPECT_TRUE(message->GetReflection()->HasField(*message, &field)) << table << info.name;
      const std::unique_ptr<core::Config> read = defaults.Clone();
      EXPECT_TRUE(ReadFields(*message, *read).ok()) << table << info.name;
      EXPECT_EQ(read->Get(info.name), zero) << table << info.name;
      ++taken;
    }
  };
  const auto try_kinds = [&](Message& parent, absl::string_view name, const core::Config& config) {
    const FieldDescriptor* kind = parent.GetDescriptor()->FindFieldByName(std::string(name));
    try_each(*parent.GetReflection()->MutableMessage(&parent, kind), config,
             std::string(name) + ".");
  };
  v1::Optimizer optimizer;
  for (const core::Method& method : core::Methods()) {
    try_kinds(optimizer, method.name, *method.default_config());
  }
  v1::Schedule schedule;
  for (const core::DecayKind& kind : core::DecayKinds()) {
    const std::unique_ptr<core::Config> config = kind.default_config();
    try_kinds(schedule, kind.name, *config);
  }
  try_each(schedule, core::ConfigOf<core::RateConfig>({.learning_rate = 1}), "schedule.");
  try_each(v1::Clipping(), core::ConfigOf<core::ClippingConfig>(), "clipping.");
  try_each(v1::WeightDecay(), core::ConfigOf<core::WeightDecayConfig>(), "weight_decay.");
  try_each(v1::WeightAverage(), core::ConfigOf<core::WeightAverageConfig>(), "average.");
  try_each(v1::ParameterGroup(), core::ConfigOf<core::GroupConfig>(), "groups.");
  core::AggregationConfig trimmed;
  trimmed.mode = core::AggregationMode::kSynchronous;
  trimmed.reduction = core::Reduction::kTrimmedMean;
  trimmed.max_workers = 1;
  v1::AggregationPolicy policy;
  for (const core::AggregationConfig& base : {core::AggregationConfig(), trimmed}) {
    core::ConfigOf<core::AggregationConfig> defaults(base);
    for (const core::FieldInfo& info : defaults.Fields()) {
      if (info.name == "max_workers") continue;  // Its zero is refused if contributions are staged.
      core::ConfigOf<core::AggregationConfig> config(base);
      core::FieldValue zero = info.default_value;
      if (std::holds_alternative<core::Choice>(zero)) continue;
      std::visit([](auto& value) { value = {}; }, zero);
      if (!config.Set(info.name, zero).ok()) continue;
      policy.Clear();
      WriteFields(config, policy);
      core::ConfigOf<core::AggregationConfig> read;
      EXPECT_TRUE(ReadFields(policy, read).ok()) << info.name;
      ++taken;
    }
  }
  EXPECT_GT(taken, 40u);
}

TEST(ConfigFieldsTest, ValueOutOfRangeNamesTheFieldAndTheRange) {
  for (const double beta : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN(),
                            std::numeric_limits<double>::infinity()}) {
    v1::Adam adam;
    adam.set_beta2(beta);
    const auto config = core::FindMethod("adam")->default_config();
    const absl::Status status = ReadFields(adam, *config);
    EXPECT_EQ(core::ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE") << beta;
    EXPECT_EQ(core::FieldName(status), "beta2");
    EXPECT_THAT(status.message(), HasSubstr("[0, 1)"));
  }
}

TEST(ConfigFieldsTest, MissingRequiredFieldIsNamed) {
  core::ConfigOf<core::RateConfig> rate;
  const absl::Status status = ReadFields(v1::Schedule(), rate);
  EXPECT_EQ(core::ReasonName(status), "FIELD_REQUIRED");
  EXPECT_EQ(core::FieldName(status), "learning_rate");
}

TEST(ConfigFieldsTest, UnknownDialectIsRefused) {
  v1::Momentum momentum;
  momentum.set_dialect(static_cast<v1::Dialect>(99));
  const auto config = core::FindMethod("momentum")->default_config();
  const absl::Status status = ReadFields(momentum, *config);
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "dialect");
}

TEST(ConfigFieldsTest, DialectThatTheMethodDoesNotSpeakIsRefused) {
  v1::Momentum momentum;
  momentum.set_dialect(v1::DIALECT_PAPER);
  const auto config = core::FindMethod("momentum")->default_config();
  const absl::Status status = ReadFields(momentum, *config);
  EXPECT_EQ(core::ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "dialect");
  EXPECT_THAT(status.message(), HasSubstr("TORCH"));
}

TEST(ConfigFieldsTest, EnumerationsTravelBothWays) {
  // Every value of every one, by name.
  const Descriptor& type = *v1::AggregationPolicy::descriptor();
  size_t travelled = 0;
  for (int index = 0; index < type.field_count(); ++index) {
    const FieldDescriptor& field = *type.field(index);
    if (field.type() != FieldDescriptor::TYPE_ENUM) continue;
    for (int number = 1; number < field.enum_type()->value_count(); ++number) {
      core::ConfigOf<core::AggregationConfig> config;
      const std::string name = field.enum_type()->FindValueByNumber(number)->name();
      const absl::string_view prefix =
          absl::StripSuffix(field.enum_type()->FindValueByNumber(0)->name(), "UNSPECIFIED");
      const core::Choice choice{absl::StripPrefix(name, prefix)};
      ASSERT_TRUE(config.Set(field.name(), choice).ok()) << name;
      v1::AggregationPolicy message;
      WriteFields(config, message);
      EXPECT_EQ(message.GetReflection()->GetEnumValue(message, &field), number) << name;
      // Alone it may contradict the defaults: it is read, whatever Validate says of the whole.
      v1::AggregationPolicy alone;
      alone.GetReflection()->SetEnumValue(&alone, &field, number);
      core::ConfigOf<core::AggregationConfig> read;
      (void)ReadFields(alone, read);
      EXPECT_EQ(read.Get(field.name()), core::FieldValue(choice)) << name;
      ++travelled;
    }
  }
  EXPECT_EQ(travelled, 3u + 4 + 2 + 3 + 2 + 2);
}

TEST(ConfigFieldsTest, AnEnumerationThatIsUnsetIsTheDefault) {
  core::ConfigOf<core::AggregationConfig> config;
  ASSERT_TRUE(ReadFields(v1::AggregationPolicy(), config).ok());
  EXPECT_EQ(config.value().mode, core::AggregationMode::kAsynchronous);
  EXPECT_EQ(config.value().close, core::CloseRule::kAll);
  EXPECT_EQ(config.value().too_few, core::TooFew::kWait);
  EXPECT_EQ(config.value().reduction, core::Reduction::kMean);
  EXPECT_EQ(config.value().reduce_order, core::ReduceOrder::kAny);
  EXPECT_EQ(config.value().stale_scale, core::StaleScale::kNone);
}

TEST(ConfigFieldsTest, UnknownValueOfAnEnumerationIsRefused) {
  for (const int number : {99, -1}) {
    v1::AggregationPolicy policy;
    policy.set_close(static_cast<v1::CloseRule>(number));
    core::ConfigOf<core::AggregationConfig> config;
    const absl::Status status = ReadFields(policy, config);
    EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
    EXPECT_EQ(core::FieldName(status), "close");
    EXPECT_EQ(config.value().close, core::CloseRule::kAll);
  }
}

TEST(ConfigFieldsTest, AWholePolicyTravelsBothWays) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_close(v1::CLOSE_RULE_COUNT);
  policy.set_close_count(3);
  policy.set_too_few(v1::TOO_FEW_CLOSE);
  policy.set_min_workers(2);
  policy.set_progress_seconds(2.5);
  policy.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
  policy.set_trim_fraction(0.25);
  policy.set_max_workers(16);
  core::ConfigOf<core::AggregationConfig> config;
  ASSERT_TRUE(ReadFields(policy, config).ok());
  EXPECT_EQ(config.value().close_count, 3u);
  EXPECT_EQ(config.value().too_few, core::TooFew::kClose);
  EXPECT_EQ(config.value().reduction, core::Reduction::kTrimmedMean);
  v1::AggregationPolicy written;
  WriteFields(config, written);
  core::ConfigOf<core::AggregationConfig> again;
  ASSERT_TRUE(ReadFields(written, again).ok());
  for (const core::FieldInfo& info : config.Fields()) {
    EXPECT_EQ(again.Get(info.name), config.Get(info.name)) << info.name;
  }
}

TEST(ConfigFieldsTest, FieldsThatContradictEachOtherAreRefused) {
  v1::Momentum momentum;
  momentum.set_dampening(0.5);
  auto config = core::FindMethod("momentum")->default_config();
  const absl::Status status = ReadFields(momentum, *config);
  EXPECT_EQ(core::ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "dampening");
  momentum.set_dialect(v1::DIALECT_TORCH);
  config = core::FindMethod("momentum")->default_config();
  EXPECT_TRUE(ReadFields(momentum, *config).ok());
}

TEST(OneofCaseTest, TellsWhichOneIsSet) {
  v1::Optimizer optimizer;
  EXPECT_EQ(OneofCase(optimizer, "method"), nullptr);
  optimizer.mutable_momentum();
  EXPECT_EQ(OneofCase(optimizer, "method")->name(), "momentum");
}

}  // namespace
}  // namespace talweg::server
