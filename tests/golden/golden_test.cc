// SPDX-License-Identifier: Apache-2.0
//
// Each method of the registry follows the trajectories of its golden file, `<method>.json`: those
// of the formulas in float64, and those of torch.optim in float32. make_golden.py made them, and
// says what a case is. A new method needs its file, and nothing here.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/registry.h"
#include "core/optimizers/variants_testing.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace talweg::core {
namespace {

using Json = nlohmann::json;

// How far a parameter may be off after up to 50 steps, in ulp of the largest parameter that the
// case has started from or come to.
//
// Against float64: each step rounds W once, by half an ulp at most and 0.29 ulp rms (a uniform
// error). Over 50 steps that adds up as a random walk to 0.29 sqrt(50) = 2 ulp rms, and the largest
// of a thousand elements lies four times as far out. What is rounded inside a step, some five
// operations and coefficients by 2^-24 of the step each, weighs less: a step is a small part of W.
// Muon, too: its step is off by 3.4445^5 2^-25 = 1.5e-5 of itself at most, where it is a hundredth
// of W; that is an ulp, spread over the elements of a matrix (core/linalg/newton_schulz_test.cc).
// Against torch: the same operations in the same order, but for Adam's division of the root by
// sqrt(c2), a multiplication here; that is 2^-24 of a step, which now and then turns the last bit
// of W, and half of the walk above is ample.
constexpr double kUlpOfFloat64 = 8;
constexpr double kUlpOfTorch = 4;

// The generator of make_golden.py.
class Generator {
 public:
  explicit Generator(uint64_t seed) : state_(seed) {}

  double Next() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<double>(state_ >> 40) / 8388608 - 1;
  }
  std::vector<float> Start(size_t size) {
    std::vector<float> start(size);
    for (float& value : start) value = static_cast<float>(Next());
    return start;
  }
  std::vector<float> Gradient(size_t size, size_t step) {
    std::vector<float> gradient(size);
    for (size_t i = 0; i < size; ++i) {
      const double noise = Next();
      if ((i + step) % 11 == 0) continue;
      gradient[i] = static_cast<float>(
          std::ldexp(noise + 0.25 * static_cast<double>(i % 3), -4 * static_cast<int>(i % 8)));
    }
    return gradient;
  }

 private:
  uint64_t state_;
};

Json FileOf(absl::string_view method) {
  std::ifstream file(absl::StrCat(TALWEG_GOLDEN_DIR "/", method, ".json"));
  return Json::parse(file, nullptr, /*allow_exceptions=*/false);
}

FieldValue ValueOf(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return DialectFromName(value.get<std::string>()).value();
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  return value.get<double>();
}

std::unique_ptr<Config> ConfigOfCase(const Method& method, const Json& golden_case) {
  auto config = method.default_config();
  for (const auto& [name, value] : golden_case["config"].items()) {
    EXPECT_TRUE(config->Set(name, ValueOf(value)).ok()) << name;
  }
  EXPECT_TRUE(config->Validate().ok());
  return config;
}

ParameterSpace SpaceOfCase(const Json& golden_case) {
  ParameterSpace space = SpaceOf(golden_case["size"].get<size_t>());
  if (!golden_case.contains("fallback")) return space;
  space.fallback.resize(space.layout->tensors().size());
  for (const size_t tensor : golden_case["fallback"]) space.fallback.at(tensor) = true;
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
  const double decay = golden_case.value("decay", 0.0);
  std::map<int, std::vector<float>> trajectory;
  const std::vector<double> rates = golden_case["rates"];
  for (size_t step = 1; step <= rates.size(); ++step) {
    StepInPlace(*optimizer, step, StepRates{rates[step - 1], decay}, generator.Gradient(size, step),
                parameters);
    if (steps.contains(std::to_string(step))) trajectory[step] = parameters;
  }
  return trajectory;
}

double UlpOf(double value) { return std::ldexp(1.0, std::ilogb(value) - 23); }

// Compares all cases of `method` that have a trajectory `source`; returns how many do.
int Compare(const Method& method, const std::string& source, double allowed_ulp) {
  const Json file = FileOf(method.name);
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
  // A file says so where the torch that made it lacks the method; the script holds it to that.
  const bool torch_has_it = FileOf(GetParam()).value("torch_has_it", true);
  const int num_compared = Compare(method(), "torch", kUlpOfTorch);
  EXPECT_TRUE(torch_has_it ? num_compared >= 4 : num_compared == 0) << num_compared;
}

TEST_P(GoldenTest, HasACaseForEachDialectAndFlag) {
  const Json file = FileOf(GetParam());
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
  for (const Method& method : Methods()) names.emplace_back(method.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Methods, GoldenTest, ::testing::ValuesIn(AllMethods()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace talweg::core
