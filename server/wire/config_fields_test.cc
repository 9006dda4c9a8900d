// SPDX-License-Identifier: Apache-2.0
//
// The conversion by name, and the test that holds every message of the wire against its table: a
// method, schedule or distribution that is on one side only fails here.
#include "server/wire/config_fields.h"

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "core/base/choice.h"
#include "core/base/reasons.h"
#include "core/optimizers/registry.h"
#include "core/schedules/schedule.h"
#include "core/session/config_sections.h"
#include "core/session/initial_values.h"
#include "core/session/session_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "talweg/v1/session.pb.h"

namespace talweg::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using ::testing::HasSubstr;

using Names = std::set<std::string>;
using DefaultConfig = std::function<std::unique_ptr<core::Config>()>;

// The kind of a value on the wire that a row of a table must have.
std::string KindOf(const core::FieldInfo& row) {
  const core::FieldValue& value = row.default_value;
  if (std::holds_alternative<bool>(value)) return "bool";
  if (std::holds_alternative<uint64_t>(value)) return "uint64";
  if (std::holds_alternative<double>(value)) return "double";
  if (std::holds_alternative<core::Choice>(value)) return "one of " + row.range;
  return "dialect";
}

// "WAIT or CLOSE", of TOO_FEW_UNSPECIFIED = 0, TOO_FEW_WAIT = 1 and TOO_FEW_CLOSE = 2: values in
// the order of their numbers, without gaps, all under the prefix of the first.
std::string NamesOf(const google::protobuf::EnumDescriptor& type) {
  absl::string_view prefix = type.FindValueByNumber(0)->name();
  EXPECT_TRUE(absl::ConsumeSuffix(&prefix, "UNSPECIFIED")) << type.full_name();
  std::vector<absl::string_view> names;
  for (int index = 1; index < type.value_count(); ++index) {
    EXPECT_EQ(type.value(index)->number(), index) << type.full_name();
    absl::string_view name = type.value(index)->name();
    EXPECT_TRUE(absl::ConsumePrefix(&name, prefix)) << type.full_name();
    names.push_back(name);
  }
  return core::ChoicesText(names);
}

std::string KindOf(const FieldDescriptor& field) {
  if (field.is_repeated()) return "repeated";
  // What is unset must be told from zero; an enumeration has UNSPECIFIED for that.
  if (field.type() == FieldDescriptor::TYPE_ENUM) {
    const google::protobuf::EnumDescriptor& type = *field.enum_type();
    return &type == v1::Dialect_descriptor() ? "dialect" : "one of " + NamesOf(type);
  }
  return (field.has_presence() ? "" : "always set ") + std::string(field.type_name());
}

// Every field of `message` outside of oneofs stands in `config`'s table with the same kind, and
// every row of the table in the message; `besides` are no settings.
void ExpectSameFields(const Descriptor& message, const core::Config& config,
                      const Names& besides = {}) {
  std::map<std::string, std::string> on_the_wire;
  for (int index = 0; index < message.field_count(); ++index) {
    const FieldDescriptor& field = *message.field(index);
    if (besides.count(field.name()) > 0) continue;
    if (field.real_containing_oneof() == nullptr) on_the_wire[field.name()] = KindOf(field);
  }
  std::map<std::string, std::string> in_the_table;
  for (const core::FieldInfo& info : config.Fields()) {
    in_the_table[std::string(info.name)] = KindOf(info);
  }
  EXPECT_EQ(on_the_wire, in_the_table) << message.full_name();
}

// Every entry of the oneof stands in `table` with the same fields, and every row in the oneof.
void ExpectSameCases(const Descriptor& message, const std::string& oneof_name,
                     const std::map<std::string, DefaultConfig>& table) {
  const OneofDescriptor* oneof = message.FindOneofByName(oneof_name);
  ASSERT_NE(oneof, nullptr);
  Names on_the_wire;
  for (int index = 0; index < oneof->field_count(); ++index) {
    const FieldDescriptor& field = *oneof->field(index);
    on_the_wire.insert(field.name());
    const auto row = table.find(field.name());
    if (row == table.end()) continue;
    ASSERT_EQ(field.type(), FieldDescriptor::TYPE_MESSAGE) << field.full_name();
    ExpectSameFields(*field.message_type(), *row->second());
  }
  Names in_the_table;
  for (const auto& [name, config] : table) in_the_table.insert(name);
  EXPECT_EQ(on_the_wire, in_the_table) << message.full_name() << "." << oneof_name;
}

template <class C>
DefaultConfig Default() {
  return [] { return std::make_unique<core::ConfigOf<C>>(); };
}

std::map<std::string, DefaultConfig> MethodTable() {
  std::map<std::string, DefaultConfig> table;
  for (const core::Method& method : core::Methods()) {
    table[std::string(method.name)] = method.default_config;
  }
  return table;
}

std::map<std::string, DefaultConfig> DecayTable() {
  std::map<std::string, DefaultConfig> table;
  for (const core::DecayKind& kind : core::DecayKinds()) {
    table[std::string(kind.name)] = kind.default_config;
  }
  return table;
}

TEST(ParityTest, EveryMethodIsOnTheWireWithItsFields) {
  ASSERT_FALSE(MethodTable().empty());
  ExpectSameCases(*v1::Optimizer::descriptor(), "method", MethodTable());
}

TEST(ParityTest, EveryDecayIsOnTheWireWithItsFields) {
  ASSERT_FALSE(DecayTable().empty());
  ExpectSameCases(*v1::Schedule::descriptor(), "decay", DecayTable());
}

TEST(ParityTest, ScheduleHasTheFieldsOfEveryRate) {
  ExpectSameFields(*v1::Schedule::descriptor(), core::ConfigOf<core::RateConfig>());
}

TEST(ParityTest, AggregationPolicyHasTheFieldsOfItsTable) {
  ExpectSameFields(*v1::AggregationPolicy::descriptor(), core::ConfigOf<core::AggregationConfig>());
}

TEST(ParityTest, SettingsOfAStepHaveTheFieldsOfTheirTables) {
  ExpectSameFields(*v1::Clipping::descriptor(), core::ConfigOf<core::ClippingConfig>());
  ExpectSameFields(*v1::WeightDecay::descriptor(), core::ConfigOf<core::WeightDecayConfig>());
  ExpectSameFields(*v1::WeightAverage::descriptor(), core::ConfigOf<core::WeightAverageConfig>());
  ExpectSameFields(*v1::ParameterGroup::descriptor(), core::ConfigOf<core::GroupConfig>(),
                   {"tensors"});
}

// The table of sections and the message have the same sections in the same order, each with the
// same kinds, entries and fields.
TEST(ParityTest, EverySectionIsOnTheWireWithItsKindsEntriesAndFields) {
  const Descriptor& message = *v1::SessionConfig::descriptor();
  ASSERT_EQ(message.field(0)->name(), "layout");
  ASSERT_EQ(static_cast<size_t>(message.field_count()), core::Sections().size() + 1);
  core::SessionConfig config = core::BlankConfig(nullptr);
  config.method = core::FindMethod("adam");
  for (size_t index = 0; index < core::Sections().size(); ++index) {
    const core::Section& section = core::Sections()[index];
    const FieldDescriptor& field = *message.field(static_cast<int>(index) + 1);
    EXPECT_EQ(field.name(), section.name);
    ASSERT_EQ(field.type(), FieldDescriptor::TYPE_MESSAGE) << section.name;
    const Descriptor& type = *field.message_type();
    ASSERT_EQ(field.is_repeated(), section.default_entry != nullptr) << section.name;
    if (section.default_entry != nullptr) {
      EXPECT_EQ(type.field(0)->name(), "tensors") << section.name;
      ExpectSameFields(type, *section.default_entry(), {"tensors"});
      EXPECT_EQ(section.default_fields, nullptr) << section.name;
    } else if (section.default_fields != nullptr) {
      ExpectSameFields(type, *section.default_fields(config));
    } else {
      for (int i = 0; i < type.field_count(); ++i) {
        EXPECT_NE(type.field(i)->real_containing_oneof(), nullptr) << type.field(i)->full_name();
      }
    }
    ASSERT_EQ(type.real_oneof_decl_count(), section.choose_kind != nullptr ? 1 : 0) << section.name;
    if (section.choose_kind == nullptr) continue;
    const OneofDescriptor& kinds = *type.oneof_decl(0);
    EXPECT_EQ(kinds.name(), section.kinds);
    for (int i = 0; i < kinds.field_count(); ++i) {
      core::SectionValue value;
      ASSERT_TRUE(section.choose_kind(kinds.field(i)->name(), value)) << kinds.field(i)->name();
      ExpectSameFields(*kinds.field(i)->message_type(), *value.kind_fields);
    }
  }
}

TEST(ParityTest, EveryDistributionIsOnTheWireWithItsFields) {
  const std::map<std::string, DefaultConfig> table = {
      {"constant", Default<core::ConstantValues>()}, {"normal", Default<core::NormalValues>()},
      {"uniform", Default<core::UniformValues>()},   {"kaiming", Default<core::KaimingValues>()},
      {"xavier", Default<core::XavierValues>()},
  };
  ASSERT_EQ(table.size(), std::variant_size_v<core::Distribution>);
  ExpectSameCases(*v1::InitialValueRule::descriptor(), "distribution", table);
}

TEST(ParityTest, DialectsHaveTheSameNames) {
  const auto& values = *v1::Dialect_descriptor();
  EXPECT_EQ(values.FindValueByNumber(0)->name(), "DIALECT_UNSPECIFIED");
  for (int index = 1; index < values.value_count(); ++index) {
    const std::string name = values.value(index)->name();
    ASSERT_EQ(name.rfind("DIALECT_", 0), 0u) << name;
    const auto dialect = core::DialectFromName(name.substr(8));
    ASSERT_TRUE(dialect.has_value()) << name;
    // The enumeration of core counts them in the same order.
    EXPECT_EQ(static_cast<int>(*dialect), index - 1) << name;
  }
  EXPECT_EQ(static_cast<int>(core::Dialect::kFederated), values.value_count() - 2)
      << "the last dialect of core is the last on the wire";
}

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
