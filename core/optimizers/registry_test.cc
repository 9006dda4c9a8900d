// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/registry.h"

#include <set>
#include <string>

#include "core/optimizers/muon_plan.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/variants_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(RegistryTest, NamesAreUniqueAndFound) {
  std::set<std::string> names;
  for (const Method& method : Methods()) {
    EXPECT_TRUE(names.insert(std::string(method.name)).second) << method.name;
    EXPECT_EQ(FindMethod(method.name), &method);
  }
  EXPECT_EQ(FindMethod(""), nullptr);
  EXPECT_EQ(FindMethod("Adam"), nullptr);
}

TEST(RegistryTest, FieldNamesAreUniqueAndDefaultsAreAllowed) {
  for (const Method& method : Methods()) {
    const auto config = method.default_config();
    std::set<std::string> names;
    for (const FieldInfo& field : config->Fields()) {
      EXPECT_TRUE(names.insert(std::string(field.name)).second) << field.name;
      EXPECT_EQ(config->Get(field.name), field.default_value) << field.name;
      if (field.presence == Presence::kOptional) {
        EXPECT_TRUE(config->Set(field.name, field.default_value).ok()) << field.name;
      }
    }
    EXPECT_TRUE(config->Validate().ok()) << method.name;
  }
}

TEST(RegistryTest, RolesOfTensorsAreFoundByName) {
  for (const Method& method : Methods()) {
    EXPECT_FALSE(method.FindRole("").has_value()) << method.name;  // The usual role has no name.
    for (size_t index = 0; index < method.tensor_roles.size(); ++index) {
      EXPECT_EQ(method.FindRole(method.tensor_roles[index]), index + 1) << method.name;
    }
    EXPECT_EQ(method.FindRole("fallback").has_value(), method.name == "muon") << method.name;
  }
  EXPECT_EQ(FindMethod("muon")->FindRole("fallback"), MuonPlan::kFallback);
}

TEST(RegistryTest, StateBytesAreThoseOfTheSlotsAndTheScratch) {
  for (const Variant& variant : AllVariants()) {
    SCOPED_TRACE(variant.name);
    for (const size_t num_elements : {1, 7, 1003}) {
      const auto optimizer = variant.method->create(*variant.config, SpaceOf(num_elements));
      uint64_t bytes = optimizer->ScratchBytes();
      for (const auto& slot : StateOf(*optimizer).slots)
        bytes += slot.second.size() * sizeof(float);
      EXPECT_EQ(variant.method->state_bytes(*variant.config, SpaceOf(num_elements)), bytes);
    }
  }
}

// What a slot starts at: zero, unless a field says otherwise.
double InitialOf(const Config& config, const std::string& slot) {
  for (const FieldInfo& field : config.Fields()) {
    const FieldValue value = config.Get(field.name);
    if (field.name == "initial_accumulator") return std::get<double>(value);
    if (value == FieldValue(Dialect::kFederated) && slot != "m") {
      const double epsilon = std::get<double>(config.Get("epsilon"));
      return static_cast<float>(epsilon * epsilon);
    }
  }
  return 0;
}

TEST(RegistryTest, StateStartsAsItsConfigSaysUnderUniqueNames) {
  for (const Variant& variant : AllVariants()) {
    SCOPED_TRACE(variant.name);
    const auto optimizer = variant.method->create(*variant.config, SpaceOf(7));
    const NamedState state = StateOf(*optimizer);
    std::set<std::string> names;
    for (const auto& [name, values] : state.slots) {
      EXPECT_TRUE(names.insert(name).second) << name;
      for (const float value : values) EXPECT_EQ(value, InitialOf(*variant.config, name));
    }
    for (const auto& scalar : state.scalars) {
      EXPECT_TRUE(names.insert(scalar.first).second) << scalar.first;
    }
  }
}

TEST(RegistryTest, VariantsWalkEveryDialectAndFlag) {
  std::set<std::string> names;
  for (const Variant& variant : AllVariants()) names.insert(variant.name);
  EXPECT_EQ(names.size(), AllVariants().size());
  for (const char* name :
       {"gradient_descent", "momentum dialect=KERAS", "momentum dialect=TORCH",
        "momentum dialect=TORCH dampening=0.5", "adam dialect=PAPER amsgrad=true",
        "adam dialect=TORCH amsgrad=false", "adam dialect=FEDERATED amsgrad=true",
        "adagrad dialect=KERAS initial_accumulator=0.5",
        "rmsprop centered=true dialect=KERAS momentum=0.5"}) {
    EXPECT_TRUE(names.count(name)) << name;
  }
}

}  // namespace
}  // namespace talweg::core
