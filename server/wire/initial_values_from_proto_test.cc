// SPDX-License-Identifier: Apache-2.0
//
// Rules for initial values, as they come on the wire.
#include <functional>
#include <string>
#include <vector>

#include "core/base/name_pattern.h"
#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/config_testing.h"

namespace talweg::server {
namespace {

class InitialValuesFromProtoTest : public ::testing::Test {
 protected:
  void ExpectRuleRefused(const std::string& reason, const std::string& field) const {
    ExpectRefused(InitialValuesFromProto(layout_, values_).status(), reason, field);
  }
  v1::InitialValueRule& AddRule(const std::string& tensors) {
    v1::InitialValueRule& rule = *values_.add_rules();
    rule.set_tensors(tensors);
    return rule;
  }

  const core::Layout layout_ = *core::Layout::Create({{"w", {4, 5}}, {"b", {4}}});
  v1::SeededValues values_;
};

TEST_F(InitialValuesFromProtoTest, DrawsEachTensorByItsRule) {
  AddRule("w").mutable_uniform()->set_low(0.5);
  AddRule("*").mutable_constant()->set_value(3);
  values_.set_seed(9);
  const auto plan = InitialValuesFromProto(layout_, values_);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::vector<float> drawn(24);
  plan->Draw({0, 24}, absl::MakeSpan(drawn));
  for (size_t index = 0; index < 20; ++index) {
    EXPECT_GE(drawn[index], 0.5f);
    EXPECT_LT(drawn[index], 1.0f);
  }
  for (size_t index = 20; index < 24; ++index) EXPECT_EQ(drawn[index], 3.0f);

  values_.set_seed(10);
  std::vector<float> other(24);
  InitialValuesFromProto(layout_, values_)->Draw({0, 24}, absl::MakeSpan(other));
  EXPECT_NE(drawn, other);
}

TEST_F(InitialValuesFromProtoTest, EveryDistributionIsTaken) {
  const std::vector<std::function<void(v1::InitialValueRule&)>> set = {
      [](auto& rule) { rule.mutable_constant(); }, [](auto& rule) { rule.mutable_normal(); },
      [](auto& rule) { rule.mutable_uniform(); },  [](auto& rule) { rule.mutable_kaiming(); },
      [](auto& rule) { rule.mutable_xavier(); },
  };
  const core::Layout layout = *core::Layout::Create({{"w", {4, 5}}});
  for (const auto& set_distribution : set) {
    values_.clear_rules();
    set_distribution(AddRule("*"));
    EXPECT_TRUE(InitialValuesFromProto(layout, values_).ok());
  }
}

TEST_F(InitialValuesFromProtoTest, RefusalsNameTheRule) {
  ExpectRuleRefused("INITIAL_VALUES_INVALID", "rules");
  AddRule("*").mutable_constant();
  AddRule("b");
  ExpectRuleRefused("FIELD_REQUIRED", "rules[1]");
  values_.mutable_rules(1)->mutable_normal()->set_standard_deviation(-1);
  ExpectRuleRefused("HYPERPARAMETER_OUT_OF_RANGE", "rules[1].normal.standard_deviation");
  values_.mutable_rules(1)->mutable_normal()->set_standard_deviation(1);
  ExpectRuleRefused("INITIAL_VALUES_INVALID", "rules[1].tensors");
  values_.mutable_rules(0)->set_tensors("w");
  EXPECT_TRUE(InitialValuesFromProto(layout_, values_).ok());
}

TEST_F(InitialValuesFromProtoTest, TooManyRulesAreRefused) {
  for (size_t count = 0; count <= core::kMaxPatterns; ++count) {
    AddRule("w").mutable_constant();
  }
  ExpectRuleRefused("INITIAL_VALUES_INVALID", "rules");
}

}  // namespace
}  // namespace talweg::server
