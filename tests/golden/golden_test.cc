// SPDX-License-Identifier: Apache-2.0
//
// Each method of the registry follows the trajectories of its golden file, `<method>.json`: those
// of the formulas in float64, and those of torch.optim in float32. make_golden.py made them, and
// says what a case is. A new method needs its file, and nothing here.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/optimizers/muon_plan.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/registry.h"
#include "core/optimizers/variants_testing.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_testing.h"

namespace talweg::core {
namespace {

// How far a parameter may be off after up to 50 steps, in ulp of the largest parameter that the
// case has started from or come to.
//
// Against float64: each step rounds W once, by half an ulp at most and 0.29 ulp rms (a uniform
// error). Over 50 steps that adds up as a random walk to 0.29 sqrt(50) = 2 ulp rms, and the largest
// of a thousand elements lies four times as far out. What is rounded inside a step, some five
// operations and coefficients by 2^-24 of the step each, weighs less: a step is a small part of W.
// With decay W is rounded once more, and multiplied with a 1 - eta decay that is itself rounded: by
// another amount at each step, because the rates of those cases vary. Against torch: the same
// operations in the same order, except for Adam's and NAdam's division of the root by sqrt(c2), a
// multiplication here; that is 2^-24 of a step, which now and then turns the last bit of W, and
// half of the walk above is ample.
// Muon's step is off by 3.4445^5 2^-25 = 1.5e-5 of itself at most. If a step is a hundredth of W,
// that is one ulp, spread over the elements of a matrix (core/linalg/newton_schulz_test.cc).
constexpr double kUlpOfFloat64 = 8;
constexpr double kUlpOfTorch = 4;

std::unique_ptr<Config> ConfigOfCase(const Method& method, const Json& golden_case) {
  auto config = method.default_config();
  SetFields(golden_case["config"], *config);
  return config;
}

// Decoupled.
double DecayOf(const Json& golden_case) { return golden_case.value("decay", 0.0); }

ParameterSpace SpaceOfCase(const Json& golden_case) {
  ParameterSpace space = SpaceOf(golden_case["size"].get<size_t>());
  if (!golden_case.contains("fallback")) return space;
  space.roles.resize(space.layout->tensors().size());
  for (const size_t tensor : golden_case["fallback"]) {
    space.roles.at(tensor) = MuonPlan::kFallback;
  }
  return space;
}

// Parameters after each step that `steps` has.
std::map<int, std::vector<float>> Trajectory(const Method& method, const Json& golden_case,
                                             const Json& steps) {
  const size_t size = golden_case["size"];
  Generator generator(golden_case["seed"].get<uint64_t>());
  std::vector<float> parameters = generator.Start(size);
  const auto optimizer =
      method.create(*ConfigOfCase(method, golden_case), SpaceOfCase(golden_case));
  std::map<int, std::vector<float>> trajectory;
  const std::vector<double> rates = golden_case["rates"];
  for (size_t step = 1; step <= rates.size(); ++step) {
    StepInPlace(*optimizer, step, StepRates{rates[step - 1], DecayOf(golden_case)},
                generator.Gradient(size, step), parameters);
    if (steps.contains(std::to_string(step))) trajectory[step] = parameters;
  }
  return trajectory;
}

// Compares all cases of `method` that have a trajectory `source`; returns how many do.
int Compare(const Method& method, const std::string& source, double allowed_ulp) {
  const Json file = GoldenFile(std::string(method.name));
  EXPECT_TRUE(file.is_object()) << "no golden file " << method.name << ".json";
  int num_compared = 0;
  double worst = 0;
  for (size_t number = 0; file.is_object() && number < file["cases"].size(); ++number) {
    const Json& golden_case = file["cases"][number];
    if (!golden_case.contains(source)) continue;
    ++num_compared;
    SCOPED_TRACE(absl::StrCat("case ", number, " ", golden_case["config"].dump()));
    const Json& expected_by_step = golden_case[source];
    const size_t size = golden_case["size"];
    const auto trajectory = Trajectory(method, golden_case, expected_by_step);
    EXPECT_EQ(trajectory.size(), expected_by_step.size());
    double largest = 0;
    for (const float value : Generator(golden_case["seed"].get<uint64_t>()).Start(size)) {
      largest = std::max<double>(largest, std::abs(value));
    }
    for (const auto& [step, got] : trajectory) {
      const std::vector<double> expected = expected_by_step[std::to_string(step)];
      EXPECT_EQ(expected.size(), got.size());
      for (const double value : expected) largest = std::max(largest, std::abs(value));
      for (size_t i = 0; i < std::min(expected.size(), got.size()); ++i) {
        const double ulp = std::abs(got[i] - expected[i]) / UlpOf(largest);
        worst = std::max(worst, ulp);
        EXPECT_LE(ulp, allowed_ulp) << "element " << i << " after step " << step << " is " << got[i]
                                    << ", expected " << expected[i];
      }
    }
  }
  std::printf("%s against %s: worst %.2f ulp\n", std::string(method.name).c_str(), source.c_str(),
              worst);
  return num_compared;
}

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  const Method& method() const { return *FindMethod(GetParam()); }
};

TEST_P(GoldenTest, FollowsTheFormulasInFloat64) {
  EXPECT_GE(Compare(method(), "float64", kUlpOfFloat64), 4);
}

TEST_P(GoldenTest, FollowsTorch) {
  const Json file = GoldenFile(GetParam());
  ASSERT_TRUE(file.contains("torch_peer"));
  const int num_compared = Compare(method(), "torch", kUlpOfTorch);
  if (file["torch_peer"].is_null()) {
    // The script has looked for one in torch.optim.
    EXPECT_EQ(num_compared, 0);
  } else {
    EXPECT_GE(num_compared, 4);
  }
}

TEST_P(GoldenTest, HasACaseWithDecayForEachDialect) {
  const Json file = GoldenFile(GetParam());
  ASSERT_TRUE(file.is_object());
  std::vector<std::string> dialects = {""};
  for (const FieldInfo& field : method().default_config()->Fields()) {
    if (!std::holds_alternative<Dialect>(field.default_value)) continue;
    dialects.clear();
    for (const FieldValue& value : internal::ValuesOf(field)) {
      dialects.push_back(FieldValueText(value));
    }
  }
  for (const std::string& dialect : dialects) {
    const auto has_it = [&](const Json& golden_case) {
      return DecayOf(golden_case) > 0 && golden_case["config"].value("dialect", "") == dialect;
    };
    EXPECT_TRUE(std::any_of(file["cases"].begin(), file["cases"].end(), has_it)) << dialect;
  }
}

TEST_P(GoldenTest, HasACaseForEachDialectAndFlag) {
  const Json file = GoldenFile(GetParam());
  ASSERT_TRUE(file.is_object());
  for (const FieldInfo& field : method().default_config()->Fields()) {
    for (const FieldValue& value : internal::ValuesOf(field)) {
      const auto has_it = [&](const Json& golden_case) {
        return golden_case["config"].contains(std::string(field.name)) &&
               ValueOf(golden_case["config"][std::string(field.name)]) == value;
      };
      EXPECT_TRUE(std::any_of(file["cases"].begin(), file["cases"].end(), has_it))
          << field.name << " = " << FieldValueText(value);
    }
  }
}

std::vector<std::string> AllMethods() {
  std::vector<std::string> names;
  // Methods that take statistics have golden files of their own (kfac_golden_test.cc).
  for (const Method& method : Methods()) {
    if (!method.takes_layers) names.emplace_back(method.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Methods, GoldenTest, ::testing::ValuesIn(AllMethods()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace talweg::core
