// SPDX-License-Identifier: Apache-2.0
#include "core/session/initial_values.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/noise/normal.h"
#include "core/noise/philox.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Layout MakeLayout(std::vector<TensorSpec> tensors) {
  absl::StatusOr<Layout> layout = Layout::Create(std::move(tensors));
  EXPECT_TRUE(layout.ok()) << layout.status();
  return *std::move(layout);
}

std::vector<float> DrawAll(const Layout& layout, uint64_t seed,
                           const std::vector<InitialValueRule>& rules) {
  const absl::StatusOr<InitialValues> plan = InitialValues::Create(layout, seed, rules);
  EXPECT_TRUE(plan.ok()) << plan.status();
  std::vector<float> values(layout.num_elements(), std::nanf(""));
  if (plan.ok()) plan->Draw({0, values.size()}, absl::MakeSpan(values));
  return values;
}

// One tensor "w" of `shape` made by `distribution`.
std::vector<float> DrawOne(std::vector<uint64_t> shape, const Distribution& distribution) {
  return DrawAll(MakeLayout({{"w", std::move(shape)}}), 5, {{"w", distribution}});
}

struct Moments {
  double mean = 0;
  double deviation = 0;
  double low = kInfinity;
  double high = -kInfinity;
};

Moments MomentsOf(const std::vector<float>& values) {
  Moments moments;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) {
    moments.mean += value / count;
    moments.low = std::min(moments.low, value);
    moments.high = std::max(moments.high, value);
  }
  for (const double value : values) {
    moments.deviation += (value - moments.mean) * (value - moments.mean) / count;
  }
  moments.deviation = std::sqrt(moments.deviation);
  return moments;
}

// Mean within four standard errors; deviation likewise, for a distribution of this kurtosis.
void ExpectMoments(const std::vector<float>& values, double mean, double deviation,
                   double kurtosis) {
  const Moments moments = MomentsOf(values);
  const double error = 4 * deviation / std::sqrt(static_cast<double>(values.size()));
  EXPECT_NEAR(moments.mean, mean, error);
  EXPECT_NEAR(moments.deviation, deviation, error * std::sqrt(kurtosis - 1) / 2);
}

constexpr double kNormalKurtosis = 3;
constexpr double kUniformKurtosis = 1.8;

// Word of element i, straight from the definition.
uint32_t WordOf(uint64_t element, uint64_t seed) {
  return Philox(CounterOf(NoiseDomain::kInitialValues, element / 4), KeyOfSeed(seed))[element % 4];
}

void ExpectUniformBetween(const std::vector<float>& values, float bound) {
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(values[i], -bound + 2 * bound * UniformFromWord(WordOf(i, 5))) << i;
    ASSERT_GE(values[i], -bound);
    ASSERT_LT(values[i], bound);
  }
}

const std::vector<TensorSpec> kMixed = {{"a.weight", {37, 11}},  {"a.bias", {37}}, {"scalar", {}},
                                        {"b.weight", {3, 5, 7}}, {"b.bias", {3}},  {"c", {10007}}};
const std::vector<InitialValueRule> kMixedRules = {{"a.weight", KaimingValues{}},
                                                   {"b.weight", XavierValues{1.5, true}},
                                                   {"*.bias", UniformValues{-1, 3}},
                                                   {"scalar", ConstantValues{7}},
                                                   {"*", NormalValues{1, 2}}};

TEST(InitialValuesTest, AnyCutIntoShardsGivesTheSameBits) {
  const Layout layout = MakeLayout(kMixed);
  const std::vector<float> whole = DrawAll(layout, 99, kMixedRules);
  const absl::StatusOr<InitialValues> plan = InitialValues::Create(layout, 99, kMixedRules);
  ASSERT_TRUE(plan.ok());
  for (const size_t cut : {1, 2, 3, 4, 5, 7, 64, 1000, 4096, 8192}) {
    std::vector<float> values(layout.num_elements(), std::nanf(""));
    // From the last shard to the first: the order must not matter either.
    for (size_t index = NumShards(values.size(), cut); index-- > 0;) {
      plan->Draw(ShardAt(index, values.size(), cut), absl::MakeSpan(values));
    }
    ASSERT_EQ(values, whole) << "shards of " << cut;
  }
}

TEST(InitialValuesTest, AShardWritesNothingOutsideItself) {
  const Layout layout = MakeLayout(kMixed);
  const absl::StatusOr<InitialValues> plan = InitialValues::Create(layout, 99, kMixedRules);
  ASSERT_TRUE(plan.ok());
  std::vector<float> values(layout.num_elements(), -77.0f);
  plan->Draw({401, 450}, absl::MakeSpan(values));
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i] == -77.0f, i < 401 || i >= 450);
  plan->Draw({10, 10}, absl::MakeSpan(values));
  EXPECT_EQ(values[10], -77.0f);
}

TEST(InitialValuesTest, ElementsDrawFromTheirPlaceInTheFlatVector) {
  const Layout layout = MakeLayout({{"first", {3}}, {"u", {10}}, {"n", {10}}});
  const std::vector<float> values =
      DrawAll(layout, uint64_t{1} << 40,
              {{"first", ConstantValues{-2.5}}, {"u", UniformValues{}}, {"n", NormalValues{}}});
  for (size_t i = 0; i < 23; ++i) {
    const PhiloxWords words =
        Philox(CounterOf(NoiseDomain::kInitialValues, i / 4), KeyOfSeed(uint64_t{1} << 40));
    const float expected = i < 3    ? -2.5f
                           : i < 13 ? UniformFromWord(words[i % 4])
                                    : NormalsFromWords(words)[i % 4];
    EXPECT_EQ(values[i], expected) << i;
  }
}

TEST(InitialValuesTest, EqualShapesAndOtherSeedsDiffer) {
  const Layout layout = MakeLayout({{"a", {64, 64}}, {"b", {64, 64}}});
  const std::vector<float> values = DrawAll(layout, 1, {{"*", KaimingValues{}}});
  const std::vector<float> other_seed = DrawAll(layout, 2, {{"*", KaimingValues{}}});
  const std::vector<float> other_half =
      DrawAll(layout, uint64_t{1} << 32, {{"*", KaimingValues{}}});
  size_t equal = 0;
  for (size_t i = 0; i < 4096; ++i) {
    equal += values[i] == values[4096 + i];
    equal += values[i] == other_seed[i];
    equal += values[i] == other_half[i];
  }
  // Two draws of 24 bits are equal once in 16 million.
  EXPECT_LE(equal, 1u);
}

TEST(InitialValuesTest, TheFirstMatchingRuleWins) {
  const Layout layout = MakeLayout({{"a.weight", {2}}, {"a.bias", {2}}, {"b.bias", {2}}});
  EXPECT_EQ(
      DrawAll(
          layout, 0,
          {{"a.bias", ConstantValues{1}}, {"*.bias", ConstantValues{2}}, {"*", ConstantValues{3}}}),
      (std::vector<float>{3, 3, 1, 1, 2, 2}));
}

TEST(InitialValuesTest, DistributionsHaveTheirMoments) {
  const std::vector<uint64_t> shape = {1000, 1000};
  {
    SCOPED_TRACE("normal");
    ExpectMoments(DrawOne(shape, NormalValues{2, 0.5}), 2, 0.5, kNormalKurtosis);
  }
  {
    SCOPED_TRACE("uniform");
    const std::vector<float> values = DrawOne(shape, UniformValues{-1, 3});
    ExpectMoments(values, 1, 4 / std::sqrt(12.0), kUniformKurtosis);
    // The ends are come near: missing 1e-4 of the range has the probability e^-100.
    EXPECT_NEAR(MomentsOf(values).low, -1, 4e-4);
    EXPECT_NEAR(MomentsOf(values).high, 3, 4e-4);
  }
  {
    SCOPED_TRACE("kaiming");
    ExpectMoments(DrawOne(shape, KaimingValues{}), 0, std::sqrt(2.0 / 1000), kUniformKurtosis);
  }
  {
    SCOPED_TRACE("kaiming, gaussian");
    ExpectMoments(DrawOne(shape, KaimingValues{3, true}), 0, 3 / std::sqrt(1000.0),
                  kNormalKurtosis);
  }
  {
    SCOPED_TRACE("xavier");
    ExpectMoments(DrawOne({500, 2000}, XavierValues{}), 0, std::sqrt(2.0 / 2500), kUniformKurtosis);
  }
  {
    SCOPED_TRACE("xavier, gaussian");
    ExpectMoments(DrawOne({500, 2000}, XavierValues{2, true}), 0, 2 * std::sqrt(2.0 / 2500),
                  kNormalKurtosis);
  }
}

// Bounds and deviations as torch.nn.init computes them (torch 1.13: kaiming_uniform_,
// xavier_uniform_, kaiming_normal_, xavier_normal_), printed with all digits.
TEST(InitialValuesTest, KaimingAndXavierHavePyTorchsBounds) {
  // Linear(784, 512), gain sqrt(2): sqrt(6 / 784).
  ExpectUniformBetween(DrawOne({512, 784}, KaimingValues{}), 0.08748177652797065f);
  // Conv2d(3, 32, 5), gain 1: fan_in is 3 * 25.
  ExpectUniformBetween(DrawOne({32, 3, 5, 5}, KaimingValues{1, false}), 0.19999999999999996f);
  // PyTorch's own Linear(512, 10): a = sqrt(5), gain sqrt(1 / 3), bound 1 / sqrt(512).
  ExpectUniformBetween(DrawOne({10, 512}, KaimingValues{1 / std::numbers::sqrt3, false}),
                       0.04419417382415921f);
  ExpectUniformBetween(DrawOne({512, 784}, XavierValues{}), 0.06804138174397716f);
  // Conv2d(3, 32, 5), gain of tanh: fan_out is 32 * 25.
  ExpectUniformBetween(DrawOne({32, 3, 5, 5}, XavierValues{5.0 / 3, false}), 0.13801311186847084f);

  const auto expect_normal = [](const std::vector<float>& values, float deviation) {
    for (size_t i = 0; i < values.size(); ++i) {
      const PhiloxWords words = Philox(CounterOf(NoiseDomain::kInitialValues, i / 4), KeyOfSeed(5));
      ASSERT_EQ(values[i], deviation * NormalsFromWords(words)[i % 4]) << i;
    }
  };
  expect_normal(DrawOne({512, 784}, KaimingValues{std::numbers::sqrt2, true}),
                0.05050762722761054f);
  expect_normal(DrawOne({32, 3, 5, 5}, XavierValues{5.0 / 3, true}), 0.07968190728895957f);
}

TEST(InitialValuesTest, LargeFansDoNotOverflow) {
  // 2^40 elements, never drawn whole: fan_out is 2^40, of which 32 bits would keep nothing.
  const Layout layout = MakeLayout({{"w", {uint64_t{1} << 39, 1, 2}}});
  const absl::StatusOr<InitialValues> plan =
      InitialValues::Create(layout, 5, std::vector<InitialValueRule>{{"w", XavierValues{}}});
  ASSERT_TRUE(plan.ok());
  std::vector<float> values(4096);
  plan->Draw({0, values.size()}, absl::MakeSpan(values));
  const auto bound = static_cast<float>(std::sqrt(6.0 / (std::pow(2.0, 40) + 2)));
  ExpectUniformBetween(values, bound);
}

TEST(InitialValuesTest, UniformStaysInItsRange) {
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{
           {0, 1}, {0, 0.1}, {-0.1, 0.1}, {-3, 3}, {0, 1e-30}, {-kFloatMax / 2, kFloatMax / 2}}) {
    const std::vector<float> values = DrawOne({1 << 18}, UniformValues{low, high});
    for (const float value : values) {
      ASSERT_GE(value, static_cast<float>(low));
      ASSERT_LT(value, static_cast<float>(high));
    }
  }
  // In general the upper end may be reached, up to the rounding of low and of high - low.
  const std::vector<float> values = DrawOne({1 << 18}, UniformValues{1e6, 1e6 + 0.1});
  for (const float value : values) {
    ASSERT_GE(value, 1e6f);
    ASSERT_LE(value, 1e6f + 0.125f);
  }
  for (const float value : DrawOne({100}, UniformValues{0.3, 0.3})) EXPECT_EQ(value, 0.3f);
}

TEST(InitialValuesTest, DegenerateNormalIsItsMean) {
  for (const float value : DrawOne({100}, NormalValues{0.3, 0})) EXPECT_EQ(value, 0.3f);
}

class InitialValuesErrorTest : public testing::Test {
 protected:
  void ExpectRefused(const std::vector<InitialValueRule>& rules, absl::string_view field) {
    const absl::Status status = InitialValues::Create(layout_, 0, rules).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(ReasonName(status), "INITIAL_VALUES_INVALID") << status;
    EXPECT_EQ(FieldName(status), field) << status;
  }
  // `distribution` for everything but "m".
  void ExpectRefused(const Distribution& distribution, absl::string_view field) {
    ExpectRefused({{"m", ConstantValues{}}, {"*", distribution}}, field);
  }
  void ExpectMade(const Distribution& distribution) {
    const auto plan = InitialValues::Create(
        layout_, 0, std::vector<InitialValueRule>{{"m", ConstantValues{}}, {"*", distribution}});
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::vector<float> values(layout_.num_elements());
    plan->Draw({0, values.size()}, absl::MakeSpan(values));
    for (const float value : values) ASSERT_TRUE(std::isfinite(value));
  }

  const Layout layout_ = MakeLayout({{"m", {}}, {"w", {100, 100}}, {"w.v", {5, 5}}});
};

TEST_F(InitialValuesErrorTest, RulesAreOneTo4096) {
  ExpectRefused(std::vector<InitialValueRule>{}, "rules");
  ExpectRefused(std::vector<InitialValueRule>(4097, {"*", ConstantValues{}}), "rules");
  // 4,096 are not too many: what is wrong is that the second makes nothing.
  ExpectRefused(std::vector<InitialValueRule>(4096, {"*", ConstantValues{}}), "rules[1].tensors");
}

TEST_F(InitialValuesErrorTest, PatternsAreAsLongAsNames) {
  ExpectRefused({{"*", ConstantValues{}}, {"", ConstantValues{}}}, "rules[1].tensors");
  ExpectRefused({{std::string(257, '*'), ConstantValues{}}}, "rules[0].tensors");
  EXPECT_TRUE(
      InitialValues::Create(
          layout_, 0, std::vector<InitialValueRule>{{std::string(256, '*'), ConstantValues{}}})
          .ok());
}

TEST_F(InitialValuesErrorTest, MatchingThatWouldTakeHoursIsRefused) {
  std::vector<TensorSpec> tensors;
  for (int index = 0; index < 10000; ++index) {
    tensors.push_back({absl::StrCat(std::string(200, 'a'), index), {}});
  }
  const Layout layout = MakeLayout(std::move(tensors));
  // Matches nothing, and takes each pattern as long as a pattern can.
  const std::vector<InitialValueRule> rules(
      4096, {absl::StrCat("*", std::string(100, 'a'), "b*"), ConstantValues{}});
  const absl::Status status = InitialValues::Create(layout, 0, rules).status();
  EXPECT_EQ(ReasonName(status), "INITIAL_VALUES_INVALID");
  EXPECT_EQ(FieldName(status), "rules");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("allowed: 268435456"));
}

TEST_F(InitialValuesErrorTest, ATensorNeedsARule) {
  ExpectRefused({{"w*", ConstantValues{}}}, "rules");
  const absl::Status status =
      InitialValues::Create(layout_, 0, std::vector<InitialValueRule>{{"w*", ConstantValues{}}})
          .status();
  EXPECT_NE(std::string(status.message()).find("\"m\""), std::string::npos) << status;
}

TEST_F(InitialValuesErrorTest, ARuleNeedsATensor) {
  ExpectRefused({{"*", ConstantValues{}}, {"x", ConstantValues{}}}, "rules[1].tensors");
  // Matched, but only by tensors that earlier rules make.
  ExpectRefused({{"w*", ConstantValues{}}, {"w.v", ConstantValues{}}, {"m", ConstantValues{}}},
                "rules[1].tensors");
}

TEST_F(InitialValuesErrorTest, FansNeedTwoDimensions) {
  ExpectRefused({{"w*", ConstantValues{}}, {"m", KaimingValues{}}}, "rules[1].tensors");
  ExpectRefused({{"w*", ConstantValues{}}, {"m", XavierValues{}}}, "rules[1].tensors");
}

TEST_F(InitialValuesErrorTest, ValuesFitInFloat32) {
  const double nan = std::nan("");
  for (const double bad : {1e39, -1e39, kInfinity, -kInfinity, nan}) {
    ExpectRefused(ConstantValues{bad}, "rules[1].constant.value");
    ExpectRefused(NormalValues{bad, 1}, "rules[1].normal.mean");
  }
  for (const double bad : {1e39, kInfinity, nan, 3e38}) {
    ExpectRefused(NormalValues{0, bad}, "rules[1].normal.standard_deviation");
    ExpectRefused(KaimingValues{bad * 100, false}, "rules[1].kaiming.gain");
    ExpectRefused(KaimingValues{bad * 100, true}, "rules[1].kaiming.gain");
    ExpectRefused(XavierValues{bad * 100, false}, "rules[1].xavier.gain");
    ExpectRefused(XavierValues{bad * 100, true}, "rules[1].xavier.gain");
  }
  ExpectRefused(NormalValues{3.4e38, 1e37}, "rules[1].normal.standard_deviation");
  ExpectRefused(UniformValues{-1e39, 0}, "rules[1].uniform.low");
  ExpectRefused(UniformValues{0, 1e39}, "rules[1].uniform.high");
  ExpectRefused(UniformValues{3e38, 5e38}, "rules[1].uniform.high");
  ExpectRefused(UniformValues{-3e38, 3e38}, "rules[1].uniform.high");
  ExpectRefused(UniformValues{-1.7e308, 1.7e308}, "rules[1].uniform.low");

  ExpectMade(ConstantValues{kFloatMax});
  ExpectMade(ConstantValues{-kFloatMax});
  ExpectMade(NormalValues{0, 5e37});
  ExpectMade(NormalValues{-1e38, 3e37});
  ExpectMade(UniformValues{0, kFloatMax});
  ExpectMade(UniformValues{-1.7e38, 1.7e38});
  ExpectMade(UniformValues{3e38, 3.4e38});
}

TEST_F(InitialValuesErrorTest, HighIsNotBelowLow) {
  ExpectRefused(UniformValues{1, 0.5}, "rules[1].uniform.high");
  const absl::Status status = UniformValues{1, 0.5}.Validate();
  EXPECT_EQ(ReasonName(status), "INITIAL_VALUES_INVALID");
  EXPECT_EQ(FieldName(status), "high");
  EXPECT_TRUE((UniformValues{1, 1}).Validate().ok());
}

}  // namespace
}  // namespace talweg::core
