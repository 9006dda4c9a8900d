// SPDX-License-Identifier: Apache-2.0
//
// What the comments of the .proto files promise of a setting is what its field table does: required
// or not, the default if it is unset, and whether it may change live.
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/choice.h"
#include "core/optimizers/registry.h"
#include "core/schedules/schedule.h"
#include "core/session/initial_values.h"
#include "core/session/session_config.h"
#include "gtest/gtest.h"
#include "talweg/v1/session.pb.h"

namespace talweg::server {
namespace {

// "Adam.beta1" and the comment above it, as one line.
using Comments = std::map<std::string, std::string>;

void ReadComments(const std::string& name, Comments& comments) {
  std::ifstream file(absl::StrCat(TALWEG_PROTO_DIR, "/talweg/v1/", name));
  ASSERT_TRUE(file.is_open()) << name;
  std::string message;
  std::string comment;
  std::string line;
  while (std::getline(file, line)) {
    absl::string_view text = absl::StripAsciiWhitespace(line);
    if (absl::ConsumePrefix(&text, "//")) {
      absl::StrAppend(&comment, text);
      continue;
    }
    const std::vector<absl::string_view> words = absl::StrSplit(text, ' ', absl::SkipWhitespace());
    if (words.size() > 1 && words[0] == "message") message = std::string(words[1]);
    for (size_t i = 1; i < words.size(); ++i) {
      if (words[i] == "=") comments[absl::StrCat(message, ".", words[i - 1])] = comment;
    }
    comment.clear();
  }
}

const Comments& AllComments() {
  static const Comments* const comments = [] {
    auto* read = new Comments;
    for (const char* name : {"optimizer.proto", "schedule.proto", "session.proto"}) {
      ReadComments(name, *read);
    }
    return read;
  }();
  return *comments;
}

// "Unset: 0.9. May be changed live." is "0.9"; of what else stands there the first word counts.
// Empty if nothing is said.
std::string SaidDefault(const std::string& comment) {
  for (const auto& [phrase, fixed] : {std::pair{" Unset or 0: ", "0"}, {" Unset: ", ""}}) {
    const size_t at = comment.find(phrase);
    if (at == std::string::npos) continue;
    if (*fixed != '\0') return fixed;
    const std::string rest = comment.substr(at + std::string(phrase).size());
    return std::string(absl::StripSuffix(
        absl::StripSuffix(absl::StripSuffix(rest.substr(0, rest.find(' ')), "."), ","), ";"));
  }
  return "";
}

bool Says(const std::string& said, const core::FieldValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return said == (*flag ? "true" : "false");
  if (const auto* dialect = std::get_if<core::Dialect>(&value)) {
    return said == core::DialectName(*dialect);
  }
  if (const auto* choice = std::get_if<core::Choice>(&value)) return said == choice->name;
  double number = 0;
  double root = 0;
  if (absl::StartsWith(said, "sqrt(") && absl::SimpleAtod(said.substr(5, said.size() - 6), &root)) {
    number = std::sqrt(root);
  } else if (!absl::SimpleAtod(said, &number)) {
    return false;
  }
  if (const auto* whole = std::get_if<uint64_t>(&value)) {
    return number == static_cast<double>(*whole);
  }
  return number == std::get<double>(value);
}

// Every setting's message with its table.
std::vector<std::pair<std::string, std::unique_ptr<core::Config>>> Tables() {
  std::vector<std::pair<std::string, std::unique_ptr<core::Config>>> tables;
  const auto add_case = [&](const google::protobuf::Descriptor& type, absl::string_view name,
                            std::unique_ptr<core::Config> config) {
    const auto* field = type.FindFieldByName(std::string(name));
    ASSERT_NE(field, nullptr) << name;
    tables.emplace_back(field->message_type()->name(), std::move(config));
  };
  for (const core::Method& method : core::Methods()) {
    add_case(*v1::Optimizer::descriptor(), method.name, method.default_config());
  }
  for (const core::DecayKind& kind : core::DecayKinds()) {
    add_case(*v1::Schedule::descriptor(), kind.name, kind.default_config());
  }
  const auto add = [&](const char* message, auto config) {
    tables.emplace_back(message,
                        std::make_unique<core::ConfigOf<decltype(config)>>(std::move(config)));
  };
  add("Schedule", core::RateConfig());
  add("AggregationPolicy", core::AggregationConfig());
  add("Clipping", core::ClippingConfig());
  add("WeightDecay", core::WeightDecayConfig());
  add("WeightAverage", core::WeightAverageConfig());
  add("ParameterGroup", core::GroupConfig());
  add("ConstantValues", core::ConstantValues());
  add("NormalValues", core::NormalValues());
  add("UniformValues", core::UniformValues());
  add("KaimingValues", core::KaimingValues());
  add("XavierValues", core::XavierValues());
  return tables;
}

// A live change of beta leaves the powers of the value that beta had before in the correction.
TEST(ProtoCommentsTest, CorrectionsOfBiasAreProductsOfWhatBetaWas) {
  std::ifstream file(absl::StrCat(TALWEG_PROTO_DIR, "/talweg/v1/optimizer.proto"));
  ASSERT_TRUE(file.is_open());
  size_t products = 0;
  for (std::string line; std::getline(file, line);) {
    EXPECT_FALSE(absl::StrContains(line, "1 - beta1^t")) << line;
    EXPECT_FALSE(absl::StrContains(line, "1 - beta2^t")) << line;
    if (absl::StrContains(line, "1 - prod(beta2)")) ++products;
  }
  EXPECT_EQ(products, 3u);  // Adam, NAdam, LAMB
}

TEST(ProtoCommentsTest, DefaultsAreThoseOfTheFieldTables) {
  size_t compared = 0;
  for (const auto& [message, config] : Tables()) {
    for (const core::FieldInfo& info : config->Fields()) {
      const std::string field = absl::StrCat(message, ".", info.name);
      const auto found = AllComments().find(field);
      ASSERT_NE(found, AllComments().end()) << field;
      const std::string said = SaidDefault(found->second);
      if (info.presence == core::Presence::kRequired) {
        EXPECT_TRUE(absl::StrContains(found->second, " Required.")) << field << found->second;
        EXPECT_EQ(said, "") << field;
        continue;
      }
      EXPECT_FALSE(absl::StrContains(found->second, " Required.")) << field << found->second;
      EXPECT_TRUE(Says(said, info.default_value))
          << field << " says \"" << said << "\", its table "
          << core::FieldValueText(info.default_value) << "; the comment:" << found->second;
      ++compared;
    }
  }
  EXPECT_GT(compared, 20u);
}

TEST(ProtoCommentsTest, FieldsThatAreFixedSaySo) {
  for (const auto& [message, config] : Tables()) {
    for (const core::FieldInfo& info : config->Fields()) {
      const std::string field = absl::StrCat(message, ".", info.name);
      const auto found = AllComments().find(field);
      ASSERT_NE(found, AllComments().end()) << field;
      EXPECT_EQ(absl::StrContains(found->second, " Fixed."), info.change == core::Change::kFixed)
          << field << ":" << found->second;
      EXPECT_FALSE(absl::StrContains(found->second, " May be changed live") &&
                   info.change == core::Change::kFixed)
          << field << ":" << found->second;
    }
  }
}

TEST(ProtoCommentsTest, ACommentIsReadAsPeopleReadIt) {
  EXPECT_EQ(SaidDefault(" Share kept, in [0, 1). Unset: 0.9. May be changed live."), "0.9");
  EXPECT_EQ(SaidDefault(" Unset: 1e-8."), "1e-8");
  EXPECT_EQ(SaidDefault(" Largest norm. Unset or 0: none. May be changed live."), "0");
  EXPECT_EQ(SaidDefault(" Unset: sqrt(2), for ReLU."), "sqrt(2)");
  EXPECT_EQ(SaidDefault(" Required."), "");
  EXPECT_TRUE(Says("sqrt(2)", core::FieldValue(std::sqrt(2.0))));
  EXPECT_FALSE(Says("0.9", core::FieldValue(0.99)));
  EXPECT_FALSE(Says("none", core::FieldValue(0.0)));
  EXPECT_TRUE(Says("TORCH", core::FieldValue(core::Dialect::kTorch)));
  EXPECT_FALSE(Says("true", core::FieldValue(false)));
  EXPECT_TRUE(Says("ALL", core::FieldValue(core::Choice{"ALL"})));
  EXPECT_FALSE(Says("ALL", core::FieldValue(core::Choice{"COUNT"})));
  EXPECT_FALSE(Says("", core::FieldValue(core::Choice{"COUNT"})));
}

}  // namespace
}  // namespace talweg::server
