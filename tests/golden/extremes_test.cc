// SPDX-License-Identifier: Apache-2.0
//
// Where float32 makes it hard, methods are still where the formulas in float64 are:
// make_extremes.py made the cases, and says what they are.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/registry.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_testing.h"

namespace talweg::core {
namespace {

// How far the parameter may be off, as a share of how far it has gone. Every step is off by some
// 2^-22 of itself. Coefficients that are rounded once, such as alpha, are rounded the same way at
// each step: alpha = 0.999 is off by 2^-26 = 1.3e-8, and 1 - alpha by 1e-5 of itself, if the
// gradient's whole past is in c.
constexpr double kTolerance = 2e-5;

float GradientAt(const Json& extreme, uint64_t step, Generator& generator) {
  const std::string kind = extreme["gradients"];
  const std::vector<double> numbers = extreme["numbers"];
  if (kind == "spike") {
    return static_cast<float>(step == static_cast<uint64_t>(numbers[1]) ? numbers[0] : 1);
  }
  if (kind == "spread") return static_cast<float>(numbers[0] * (1 + numbers[1] * generator.Next()));
  if (kind == "ramp")
    return static_cast<float>(numbers[0] + numbers[1] * static_cast<double>(step));
  TALWEG_CHECK(kind == "constant");
  return static_cast<float>(numbers[0]);
}

// Compares all cases whose gradients are spikes, or all others. Returns how many there are.
int Compare(bool spikes) {
  const Json file = GoldenFile("extremes");
  EXPECT_TRUE(file.is_object());
  int num_compared = 0;
  double worst = 0;
  for (const Json& extreme : file["cases"]) {
    if ((extreme["gradients"] == "spike") != spikes) continue;
    ++num_compared;
    SCOPED_TRACE(absl::StrCat(extreme["method"].get<std::string>(), " ", extreme["config"].dump(),
                              " ", extreme["gradients"].get<std::string>(), " ",
                              extreme["numbers"].dump()));
    const Method& method = *FindMethod(extreme["method"].get<std::string>());
    std::unique_ptr<Config> config = method.default_config();
    SetFields(extreme["config"], *config);
    const auto optimizer = method.create(*config, SpaceOf(1));
    Generator generator(1);
    const double start = extreme["start"];
    std::vector<float> parameters = {static_cast<float>(start)};
    uint64_t step = 0;
    std::map<uint64_t, double> expected;  // by step, in its order
    for (const auto& [at, value] : extreme["parameter"].items()) expected[std::stoul(at)] = value;
    double gone = 0;
    for (const auto& [last, value] : expected) {
      while (step < last) {
        ++step;
        StepInPlace(*optimizer, step, extreme["rate"].get<double>(),
                    {GradientAt(extreme, step, generator)}, parameters);
      }
      gone = std::max(gone, std::abs(value - start));
      const double off = std::abs(parameters[0] - value) / gone;
      worst = std::max(worst, off);
      EXPECT_LE(off, kTolerance) << "after step " << last << " it is " << parameters[0]
                                 << ", expected " << value;
    }
  }
  std::printf("%s: worst %.2g of the way\n", spikes ? "spikes" : "hardly changing", worst);
  return num_compared;
}

TEST(ExtremesTest, CenteredRmspropTakesTheRightStepsIfTheGradientHardlyChanges) {
  EXPECT_EQ(Compare(/*spikes=*/false), 30);
}

TEST(ExtremesTest, ASpikeWhoseSquareOverflowsMovesAParameterAsFarAsItShould) {
  EXPECT_EQ(Compare(/*spikes=*/true), 138);
}

}  // namespace
}  // namespace talweg::core
