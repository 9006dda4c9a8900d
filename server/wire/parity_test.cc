// SPDX-License-Identifier: Apache-2.0
//
// Every message of the wire against its table: a section, method, schedule or distribution that is
// on one side only fails here.
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "core/base/choice.h"
#include "core/optimizers/registry.h"
#include "core/schedules/schedule.h"
#include "core/session/config_sections.h"
#include "core/session/initial_values.h"
#include "core/session/session_config.h"
#include "gtest/gtest.h"
#include "talweg/v1/session.pb.h"

namespace talweg::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;

using Names = std::set<std::string>;
using DefaultConfig = std::function<std::unique_ptr<core::Config>()>;

// Whether the range of a count, such as "[1, 86400]", ends below 2^32.
bool IsSmall(const core::FieldInfo& row) {
  const size_t comma = row.range.find(", ");
  double high = 0;
  return comma != std::string::npos &&
         absl::SimpleAtod(row.range.substr(comma + 2, row.range.size() - comma - 3), &high) &&
         high < 4294967296.0;
}

// The kind of a value on the wire that a row of a table must have. A small count is a uint32, which
// every language has as a plain number; JavaScript and JSON have no such thing for a uint64.
std::string KindOf(const core::FieldInfo& row) {
  const core::FieldValue& value = row.default_value;
  if (std::holds_alternative<bool>(value)) return "bool";
  if (std::holds_alternative<uint64_t>(value)) return IsSmall(row) ? "uint32" : "uint64";
  if (std::holds_alternative<double>(value)) return "double";
  if (std::holds_alternative<std::string>(value)) return "string";
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
      EXPECT_EQ(type.field(0)->name(), section.entry_key) << section.name;
      ExpectSameFields(type, *section.default_entry(), {std::string(section.entry_key)});
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

}  // namespace
}  // namespace talweg::server
