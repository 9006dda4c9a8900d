// SPDX-License-Identifier: Apache-2.0
//
// One finite gradient of any size stops no parameter for good: every method forgets it, or, if the
// method forgets nothing by its definition, still takes a step of the right length.
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "core/optimizers/adam.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/variants_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

// A scalar, a vector and a matrix.
constexpr size_t kSize = 12;
constexpr float kSpikes[] = {1e20f, 1e22f, 1e30f, std::numeric_limits<float>::max()};

// How an optimizer moves parameters that are 0, by one more gradient whose elements are all `g`.
std::vector<float> Moved(Optimizer& optimizer, uint64_t step, float g) {
  std::vector<float> parameters(kSize);
  StepInPlace(optimizer, step, 0.001, std::vector<float>(kSize, g), parameters);
  return parameters;
}

// Methods whose definition never forgets: a sum, or a maximum, of all squares.
bool ForgetsNothing(const Variant& variant) {
  return variant.method->name == "adagrad" ||
         variant.name.find("amsgrad=true") != std::string::npos;
}

TEST(SpikeTest, EveryMethodStepsAsEverOnceItHasForgottenASpike) {
  for (const Variant& variant : AllVariants()) {
    if (ForgetsNothing(variant)) continue;
    std::unique_ptr<Config> config = variant.config->Clone();
    // Whatever it is, it is forgotten within a thousand steps. As float32 numbers, 0.8 and 0.2 add
    // up to more than 1.
    for (const FieldInfo& field : config->Fields()) {
      if (std::set<absl::string_view>{"beta", "beta2", "fallback_beta2", "alpha"}.contains(
              field.name)) {
        ASSERT_TRUE(config->Set(field.name, 0.8).ok());
      }
    }
    const auto calm = variant.method->create(*config, SpaceOf(kSize));
    std::vector<float> expected;
    for (uint64_t step = 1; step <= 1500; ++step) expected = Moved(*calm, step, 1);
    for (const float sign : {1.0f, -1.0f}) {
      for (const float spike : kSpikes) {
        SCOPED_TRACE(testing::Message() << variant.name << " after " << sign * spike);
        const auto struck = variant.method->create(*config, SpaceOf(kSize));
        std::vector<float> got;
        for (uint64_t step = 1; step <= 1500; ++step) {
          const bool is_spike = step == 2 || step == 3;
          got = Moved(*struck, step, is_spike ? sign * spike : 1);
        }
        for (size_t i = 0; i < kSize; ++i) {
          ASSERT_NE(expected[i], 0);
          ASSERT_NEAR(got[i] / expected[i], 1, 1e-3) << i;
        }
      }
    }
  }
}

TEST(SpikeTest, TheStepOfASpikeIsThatOfASmallerSpike) {
  // Methods that divide by the root of squares do not see the gradient's scale.
  for (const Variant& variant : AllVariants()) {
    bool squares = false;
    for (const FieldInfo& field : variant.config->Fields()) {
      squares |= field.name == "epsilon" && variant.method->name != "muon";
    }
    if (!squares) continue;
    for (const float spike : kSpikes) {
      SCOPED_TRACE(testing::Message() << variant.name << " at " << spike);
      const auto small = variant.method->create(*variant.config, SpaceOf(kSize));
      const auto large = variant.method->create(*variant.config, SpaceOf(kSize));
      for (uint64_t step = 1; step <= 50; ++step) {
        const std::vector<float> expected = Moved(*small, step, step == 2 ? 1e18f : 1);
        const std::vector<float> got = Moved(*large, step, step == 2 ? spike : 1);
        // AdaGrad and RMSProp take what comes after it relative to it: nothing.
        if (std::abs(expected[0]) < 1e-9) continue;
        for (size_t i = 0; i < kSize; ++i) ASSERT_NEAR(got[i] / expected[i], 1, 1e-5) << step;
      }
    }
  }
}

}  // namespace
}  // namespace talweg::core
