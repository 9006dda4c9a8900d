// SPDX-License-Identifier: Apache-2.0
#include "core/base/field.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kMax = std::numeric_limits<double>::max();

struct Sample {
  Dialect dialect = Dialect::kTorch;
  double beta = 0.9;
  double rate = 0;
  uint64_t period = 3;
  bool nesterov = false;
  static auto Fields() {
    return std::tuple{
        DialectField{"dialect", &Sample::dialect, DialectSet{Dialect::kTorch, Dialect::kTutorial}},
        Field{"beta", &Sample::beta, HalfOpen(0, 1)},
        Field{"rate", &Sample::rate, Positive(), Change::kLive, Presence::kRequired},
        Field{"period", &Sample::period, Closed(1, 16), Change::kFixed},
        Field{"nesterov", &Sample::nesterov},
    };
  }
  absl::Status Validate() const {
    if (!nesterov || beta > 0) return absl::OkStatus();
    return MakeError(Reason::kHyperparameterOutOfRange, "nesterov needs beta > 0", "nesterov");
  }
};

struct Needing {
  bool trims = false;
  double share = 0;
  static auto Fields() {
    return std::tuple{Field{"trims", &Needing::trims}, Field{"share", &Needing::share}};
  }
  absl::string_view NeededBy(absl::string_view name) const {
    return trims && name == "share" ? "trims" : "";
  }
};

enum class Rule { kAll, kCount, kWeight };

struct Chosen {
  static constexpr absl::string_view kRules[] = {"ALL", "COUNT", "WEIGHT"};
  Rule rule = Rule::kCount;
  Rule first = Rule::kAll;
  static auto Fields() {
    return std::tuple{
        ChoiceField{"rule", &Chosen::rule, absl::Span<const absl::string_view>(kRules)},
        ChoiceField{"first", &Chosen::first, absl::Span<const absl::string_view>(kRules),
                    Change::kFixed}};
  }
};

struct Empty {
  static auto Fields() { return std::tuple{}; }
};

TEST(RangeTest, ContainsItsClosedEndsOnly) {
  const struct {
    Range range;
    double value;
    bool contained;
  } rows[] = {
      {Closed(0, 1), 0, true},
      {Closed(0, 1), 1, true},
      {Closed(0, 1), -0.0, true},
      {Closed(0, 1), std::nextafter(1, 2), false},
      {HalfOpen(0, 1), 0, true},
      {HalfOpen(0, 1), 1, false},
      {HalfOpen(0, 1), std::nextafter(1, 0), true},
      {OpenClosed(0, 1), 0, false},
      {OpenClosed(0, 1), 1, true},
      {OpenClosed(0, 1), 5e-324, true},
      {Positive(), 0, false},
      {Positive(), -1, false},
      {Positive(), kMax, true},
      {AtLeast(2), 2, true},
      {AtLeast(2), 1.999, false},
      {Finite(), -kMax, true},
      {Finite(), kMax, true},
      {Range{.high = 3, .high_open = true}, -kMax, true},
      {Range{.high = 3, .high_open = true}, 3, false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(row.range.Contains(row.value), row.contained) << row.value << row.range.Text();
  }
}

TEST(RangeTest, NeverContainsNanOrInfinity) {
  for (const Range& range : {Closed(0, 1), HalfOpen(0, 1), Positive(), AtLeast(0), Finite()}) {
    for (const double bad : {std::nan(""), kInfinity, -kInfinity}) {
      EXPECT_FALSE(range.Contains(bad)) << bad << " " << range.Text();
    }
  }
}

TEST(RangeTest, ReadsAsAPersonWouldWriteIt) {
  EXPECT_EQ(Closed(0, 1).Text(), "[0, 1]");
  EXPECT_EQ(HalfOpen(0, 1).Text(), "[0, 1)");
  EXPECT_EQ(OpenClosed(0, 0.5).Text(), "(0, 0.5]");
  EXPECT_EQ((Range{-1, 1, true, true}).Text(), "(-1, 1)");
  EXPECT_EQ(Positive().Text(), "> 0");
  // A limit is not rounded beyond what it allows.
  EXPECT_EQ(Closed(0, 0x1p53 - 1).Text(), "[0, 9007199254740991]");
  EXPECT_EQ(Closed(1, 1e9).Text(), "[1, 1e+09]");
  EXPECT_EQ(AtLeast(1).Text(), ">= 1");
  EXPECT_EQ((Range{.high = 2}).Text(), "<= 2");
  EXPECT_EQ((Range{.high = 2, .high_open = true}).Text(), "< 2");
  EXPECT_EQ(Finite().Text(), "finite");
}

TEST(FieldTest, ValuesReadAsText) {
  EXPECT_EQ(FieldValueText(true), "true");
  EXPECT_EQ(FieldValueText(false), "false");
  EXPECT_EQ(FieldValueText(~uint64_t{0}), "18446744073709551615");
  EXPECT_EQ(FieldValueText(0.001), "0.001");
  EXPECT_EQ(FieldValueText(Dialect::kKeras), "KERAS");
}

TEST(FieldTest, TheTableIsListedInItsOrder) {
  const std::vector<FieldInfo> fields = ConfigOf<Sample>().Fields();
  const struct {
    absl::string_view name;
    absl::string_view default_value;
    size_t kind;
    absl::string_view range;
    Change change;
    Presence presence;
  } expected[] = {
      {"dialect", "TORCH", 3, "TORCH or TUTORIAL", Change::kFixed, Presence::kOptional},
      {"beta", "0.9", 2, "[0, 1)", Change::kLive, Presence::kOptional},
      {"rate", "0", 2, "> 0", Change::kLive, Presence::kRequired},
      {"period", "3", 1, "[1, 16]", Change::kFixed, Presence::kOptional},
      {"nesterov", "false", 0, "true or false", Change::kLive, Presence::kOptional},
  };
  ASSERT_EQ(fields.size(), std::size(expected));
  for (size_t i = 0; i < fields.size(); ++i) {
    SCOPED_TRACE(std::string(expected[i].name));
    EXPECT_EQ(fields[i].name, expected[i].name);
    EXPECT_EQ(FieldValueText(fields[i].default_value), expected[i].default_value);
    EXPECT_EQ(fields[i].default_value.index(), expected[i].kind);
    EXPECT_EQ(fields[i].range, expected[i].range);
    EXPECT_EQ(fields[i].change, expected[i].change);
    EXPECT_EQ(fields[i].presence, expected[i].presence);
  }
  EXPECT_TRUE(ConfigOf<Empty>().Fields().empty());
}

TEST(FieldTest, DefaultsAreTheStructsAndNotTheCurrentValues) {
  Sample sample;
  sample.beta = 0.25;
  EXPECT_EQ(FieldValueText(ConfigOf<Sample>(sample).Fields()[1].default_value), "0.9");
}

TEST(FieldTest, SetThenGetReturnsTheValueAndLeavesTheOthers) {
  ConfigOf<Sample> config;
  const std::pair<absl::string_view, FieldValue> values[] = {{"dialect", Dialect::kTutorial},
                                                             {"beta", 0.5},
                                                             {"rate", 1e-3},
                                                             {"period", uint64_t{16}},
                                                             {"nesterov", true}};
  for (const auto& [name, value] : values) {
    ConfigOf<Sample> alone;
    ASSERT_TRUE(alone.Set(name, value).ok()) << name;
    for (const FieldInfo& field : alone.Fields()) {
      EXPECT_EQ(alone.Get(field.name), field.name == name ? value : field.default_value) << name;
    }
    ASSERT_TRUE(config.Set(name, value).ok());
  }
  for (const auto& [name, value] : values) EXPECT_EQ(config.Get(name), value) << name;
  EXPECT_EQ(config.value().period, 16u);
}

TEST(FieldTest, OtherFieldsSayWhetherAFieldIsNeeded) {
  EXPECT_EQ(ConfigOf<Sample>().NeededBy("beta"), "");
  EXPECT_EQ(ConfigOf<Needing>().NeededBy("share"), "");
  EXPECT_EQ(ConfigOf<Needing>({.trims = true}).NeededBy("share"), "trims");
  EXPECT_EQ(ConfigOf<Needing>({.trims = true}).NeededBy("trims"), "");
}

TEST(FieldTest, OutOfRangeNamesTheFieldAndChangesNothing) {
  const std::pair<absl::string_view, FieldValue> refused[] = {{"dialect", Dialect::kPaper},
                                                              {"beta", 1.0},
                                                              {"beta", -0.1},
                                                              {"beta", std::nan("")},
                                                              {"rate", 0.0},
                                                              {"rate", kInfinity},
                                                              {"period", uint64_t{0}},
                                                              {"period", uint64_t{17}},
                                                              {"period", ~uint64_t{0}}};
  for (const auto& [name, value] : refused) {
    ConfigOf<Sample> config;
    const FieldValue before = config.Get(name);
    const absl::Status status = config.Set(name, value);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE");
    EXPECT_EQ(FieldName(status), name);
    EXPECT_EQ(config.Get(name), before) << name;
  }
  ConfigOf<Sample> config;
  EXPECT_EQ(config.Set("beta", 1.5).message(), "beta is 1.5, allowed: [0, 1)");
  EXPECT_EQ(config.Set("dialect", Dialect::kKeras).message(),
            "dialect is KERAS, allowed: TORCH or TUTORIAL");
}

TEST(FieldTest, ValidateSaysWhatSingleRangesCannot) {
  ConfigOf<Sample> config;
  EXPECT_TRUE(config.Validate().ok());
  ASSERT_TRUE(config.Set("nesterov", true).ok());
  EXPECT_TRUE(config.Validate().ok());
  ASSERT_TRUE(config.Set("beta", 0.0).ok());
  EXPECT_EQ(FieldName(config.Validate()), "nesterov");
  EXPECT_TRUE(ConfigOf<Empty>().Validate().ok());
}

TEST(FieldTest, ACloneStandsAlone) {
  ConfigOf<Sample> config;
  ASSERT_TRUE(config.Set("beta", 0.5).ok());
  const std::unique_ptr<Config> clone = config.Clone();
  ASSERT_TRUE(config.Set("beta", 0.75).ok());
  EXPECT_EQ(ValueOf<Sample>(*clone).beta, 0.5);
  EXPECT_EQ(ValueOf<Sample>(config).beta, 0.75);
}

TEST(ChoiceFieldTest, IsListedByTheNamesOfItsValues) {
  const std::vector<FieldInfo> fields = ConfigOf<Chosen>().Fields();
  ASSERT_EQ(fields.size(), 2u);
  EXPECT_EQ(fields[0].name, "rule");
  EXPECT_EQ(fields[0].default_value, FieldValue(Choice{"COUNT"}));
  EXPECT_EQ(fields[0].range, "ALL, COUNT or WEIGHT");
  EXPECT_EQ(fields[0].change, Change::kLive);
  EXPECT_EQ(fields[0].presence, Presence::kOptional);
  EXPECT_EQ(fields[1].change, Change::kFixed);
  EXPECT_EQ(fields[1].default_value, FieldValue(Choice{"ALL"}));
}

TEST(ChoiceFieldTest, ValuesTravelByName) {
  for (const auto& [name, rule] :
       {std::pair{"ALL", Rule::kAll}, {"COUNT", Rule::kCount}, {"WEIGHT", Rule::kWeight}}) {
    ConfigOf<Chosen> config;
    ASSERT_TRUE(config.Set("rule", Choice{name}).ok());
    EXPECT_EQ(config.value().rule, rule);
    EXPECT_EQ(config.value().first, Rule::kAll);
    EXPECT_EQ(config.Get("rule"), FieldValue(Choice{name}));
    EXPECT_EQ(FieldValueText(config.Get("rule")), name);
  }
}

TEST(ChoiceFieldTest, AnotherNameIsRefusedAndChangesNothing) {
  for (const absl::string_view name : {"", "all", "ALLOW", "ALL ", "DEADLINE"}) {
    ConfigOf<Chosen> config;
    const absl::Status status = config.Set("rule", Choice{name});
    EXPECT_EQ(ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE") << name;
    EXPECT_EQ(FieldName(status), "rule");
    EXPECT_EQ(config.value().rule, Rule::kCount);
  }
  EXPECT_EQ(ConfigOf<Chosen>().Set("rule", Choice{"MEAN"}).message(),
            "rule is MEAN, allowed: ALL, COUNT or WEIGHT");
}

TEST(ChoiceFieldTest, WhatIsReadOutlivesTheTextItWasSetBy) {
  ConfigOf<Chosen> config;
  FieldValue read;
  {
    std::string name = "WEIGHT";
    ASSERT_TRUE(config.Set("rule", Choice{name}).ok());
    read = config.Get("rule");
    name = "overwritten";
  }
  EXPECT_EQ(read, FieldValue(Choice{"WEIGHT"}));
}

TEST(ChoiceFieldDeathTest, ADialectIsNoChoice) {
  ConfigOf<Chosen> config;
  EXPECT_DEATH((void)config.Set("rule", Dialect::kTorch), "broken promise");
  EXPECT_DEATH((void)config.Set("rule", uint64_t{1}), "broken promise");
}

TEST(ChoiceTest, IsItsName) {
  const std::string all = "ALL";
  EXPECT_EQ(Choice{"ALL"}, Choice{all});
  EXPECT_NE(Choice{"ALL"}, Choice{"COUNT"});
  EXPECT_NE(Choice{"ALL"}, Choice{"all"});
}

TEST(ChoiceTest, NamesReadAsAList) {
  const absl::string_view names[] = {"MEAN", "TRIMMED_MEAN", "MEDIAN"};
  const absl::Span<const absl::string_view> all(names);
  EXPECT_EQ(ChoicesText(all), "MEAN, TRIMMED_MEAN or MEDIAN");
  EXPECT_EQ(ChoicesText(all.first(2)), "MEAN or TRIMMED_MEAN");
  EXPECT_EQ(ChoicesText(all.first(1)), "MEAN");
  EXPECT_EQ(ChoicesText({}), "");
}

TEST(FieldDeathTest, OurOwnMistakesStopTheProgram) {
  ConfigOf<Sample> config;
  EXPECT_DEATH((void)config.Set("gamma", 1.0), "broken promise");
  EXPECT_DEATH((void)config.Get("gamma"), "broken promise");
  EXPECT_DEATH((void)config.Set("period", 1.0), "broken promise");
  EXPECT_DEATH((void)ValueOf<Empty>(config), "broken promise");
}

TEST(DialectTest, NamesReadBack) {
  for (const Dialect dialect : {Dialect::kTorch, Dialect::kKeras, Dialect::kPaper,
                                Dialect::kTutorial, Dialect::kFederated}) {
    EXPECT_EQ(DialectFromName(DialectName(dialect)), dialect);
  }
  EXPECT_EQ(DialectFromName("torch"), std::nullopt);
  EXPECT_EQ(DialectFromName(""), std::nullopt);
}

TEST(DialectTest, ASetHoldsWhatItWasGiven) {
  const DialectSet set{Dialect::kKeras, Dialect::kTutorial};
  EXPECT_FALSE(set.Contains(Dialect::kTorch));
  EXPECT_TRUE(set.Contains(Dialect::kKeras));
  EXPECT_FALSE(set.Contains(Dialect::kPaper));
  EXPECT_TRUE(set.Contains(Dialect::kTutorial));
}

TEST(DialectTest, ASetReadsAsAList) {
  EXPECT_EQ((DialectSet{Dialect::kPaper}).Text(), "PAPER");
  EXPECT_EQ((DialectSet{Dialect::kPaper, Dialect::kTorch}).Text(), "TORCH or PAPER");
  EXPECT_EQ((DialectSet{Dialect::kTorch, Dialect::kKeras, Dialect::kPaper}).Text(),
            "TORCH, KERAS or PAPER");
  EXPECT_EQ((DialectSet{}).Text(), "");
}

}  // namespace
}  // namespace talweg::core
