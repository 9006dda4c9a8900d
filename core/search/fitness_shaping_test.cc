// SPDX-License-Identifier: Apache-2.0
//
// Weights and factors: against NumPy's vectors (proto/vectors/noise.json), and worked out by hand.
#include "core/search/fitness_shaping.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace talweg::core {
namespace {

using nlohmann::json;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Hexadecimal digits, 8 for a float32 and 16 for a float64.
std::vector<float> Floats(const json& digits) {
  const auto text = digits.get<std::string>();
  std::vector<float> floats;
  for (size_t i = 0; i < text.size(); i += 8) {
    const auto word = static_cast<uint32_t>(std::stoul(text.substr(i, 8), nullptr, 16));
    floats.push_back(std::bit_cast<float>(word));
  }
  return floats;
}
std::vector<double> Doubles(const json& digits) {
  const auto text = digits.get<std::string>();
  std::vector<double> doubles;
  for (size_t i = 0; i < text.size(); i += 16) {
    const uint64_t word = std::stoull(text.substr(i, 16), nullptr, 16);
    doubles.push_back(std::bit_cast<double>(word));
  }
  return doubles;
}

template <class E, size_t kSize>
E Chosen(const json& name, const absl::string_view (&names)[kSize]) {
  const auto* const found = std::find(std::begin(names), std::end(names), name.get<std::string>());
  EXPECT_NE(found, std::end(names)) << name;
  return static_cast<E>(found - std::begin(names));
}

// L+ alone.
std::vector<double> Plus(const std::vector<double>& losses) {
  std::vector<double> plus;
  for (size_t i = 0; i < losses.size(); i += 2) plus.push_back(losses[i]);
  return plus;
}

// Pairs that counted, not all of those that there were.
std::vector<uint32_t> SomePairs(size_t count) {
  std::vector<uint32_t> pairs(count);
  for (size_t i = 0; i < count; ++i) pairs[i] = static_cast<uint32_t>(3 * i + 1);
  return pairs;
}

json Vectors() {
  std::ifstream file(TALWEG_VECTORS_DIR "/noise.json");
  return json::parse(file);
}

TEST(ShapingVectorsTest, WeightsAndFactorsHaveTheBitsOfNumPy) {
  const json weights = Vectors()["weights"];
  size_t num_rows = 0;
  for (const json& row : weights["rows"]) {
    SCOPED_TRACE(row.dump());
    SearchConfig config;
    config.method = SearchMethod::kEvolutionStrategy;
    config.differences = Chosen<Differences>(row["difference"], SearchConfig::kDifferences);
    config.scale = Chosen<EstimateScale>(row["scale"], SearchConfig::kScales);
    config.shaping = Chosen<Shaping>(row["shaping"], SearchConfig::kShapings);
    config.baseline = Chosen<Baseline>(row["baseline"], SearchConfig::kBaselines);
    config.direction = row["maximize"].get<bool>() ? Direction::kMaximize : Direction::kMinimize;
    std::vector<double> losses = Doubles(weights["losses"][row["losses"].get<size_t>()]);
    if (config.differences != Differences::kCentral) losses = Plus(losses);
    const std::vector<uint32_t> pairs = SomePairs(losses.size() / config.losses_per_pair());
    const ShapedLosses shaped =
        Shape(config, {pairs, losses, Doubles(row["evaluated"])[0], Floats(row["sigma"])[0]});
    EXPECT_EQ(std::bit_cast<uint64_t>(shaped.factor),
              std::bit_cast<uint64_t>(Doubles(row["factor"])[0]));
    EXPECT_EQ(shaped.kept_pair, std::nullopt);
    const std::vector<float> expected = Floats(row["weights"]);
    ASSERT_EQ(shaped.weights.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(shaped.weights[i].pair, pairs[i]);
      EXPECT_EQ(std::bit_cast<uint32_t>(shaped.weights[i].weight),
                std::bit_cast<uint32_t>(expected[i]))
          << i;
    }
    ++num_rows;
  }
  EXPECT_GE(num_rows, 200u);
}

TEST(ShapingVectorsTest, IfBetterKeepsThePairOfNumPy) {
  size_t num_kept = 0;
  const json rows = Vectors()["if_better"];
  for (const json& row : rows) {
    SCOPED_TRACE(row.dump());
    SearchConfig config;
    config.method = SearchMethod::kRandomSearch;
    config.direction = row["maximize"].get<bool>() ? Direction::kMaximize : Direction::kMinimize;
    const std::vector<double> losses = Doubles(row["losses"]);
    const std::vector<uint32_t> pairs = SomePairs(losses.size());
    const ShapedLosses shaped = Shape(config, {pairs, losses, Doubles(row["evaluated"])[0], 0.02f});
    EXPECT_TRUE(shaped.weights.empty());
    const int64_t position = row["position"];
    ASSERT_EQ(shaped.kept_pair.has_value(), position >= 0);
    if (position < 0) continue;
    EXPECT_EQ(*shaped.kept_pair, pairs[static_cast<size_t>(position)]);
    ++num_kept;
  }
  EXPECT_GT(num_kept, 0u);
}

// --- Ranks.

TEST(RanksTest, EqualLossesShareTheAverageRank) {
  EXPECT_EQ(DoubledRanks({3, 1, 2}), (std::vector<uint32_t>{4, 0, 2}));
  EXPECT_EQ(DoubledRanks({2, 1, 2, 5}), (std::vector<uint32_t>{3, 0, 3, 6}));
  EXPECT_EQ(DoubledRanks({7, 7, 7}), (std::vector<uint32_t>{2, 2, 2}));
  EXPECT_EQ(DoubledRanks({4}), (std::vector<uint32_t>{0}));
  EXPECT_EQ(DoubledRanks({}), (std::vector<uint32_t>{}));
  EXPECT_EQ(DoubledRanks({0.0, -0.0}), (std::vector<uint32_t>{1, 1}));
  EXPECT_EQ(DoubledRanks({kInfinity, 1, kInfinity, -kInfinity}),
            (std::vector<uint32_t>{5, 2, 5, 0}));
}

// What the definition says, pair by pair.
TEST(RanksTest, AreTwiceTheSmallerOnesAndTheEqualOnes) {
  std::vector<double> losses(500);
  for (size_t i = 0; i < losses.size(); ++i) losses[i] = static_cast<double>(i * i % 97 % 40);
  const std::vector<uint32_t> ranks = DoubledRanks(losses);
  for (size_t i = 0; i < losses.size(); ++i) {
    uint32_t rank = 0;
    for (size_t j = 0; j < losses.size(); ++j) {
      if (losses[j] < losses[i]) rank += 2;
      if (losses[j] == losses[i] && j != i) rank += 1;
    }
    EXPECT_EQ(ranks[i], rank) << i;
  }
}

// --- By hand.

SearchConfig Shaped(Differences differences, Shaping shaping) {
  SearchConfig config;
  config.method = SearchMethod::kEvolutionStrategy;
  config.differences = differences;
  config.shaping = shaping;
  config.scale = EstimateScale::kGradient;
  return config;
}

std::vector<float> WeightsOf(const ShapedLosses& shaped) {
  std::vector<float> weights;
  for (const PairWeight& pair : shaped.weights) weights.push_back(pair.weight);
  return weights;
}

ShapedLosses ShapeAll(const SearchConfig& config, const std::vector<double>& losses,
                      std::optional<double> evaluated = std::nullopt) {
  std::vector<uint32_t> pairs(losses.size() / config.losses_per_pair());
  std::iota(pairs.begin(), pairs.end(), 0u);
  return Shape(config, {pairs, losses, evaluated, 0.5f});
}

TEST(ShapingTest, TheDivisorIsTheNumberOfPairsThatCounted) {
  const ShapedLosses shaped =
      ShapeAll(Shaped(Differences::kCentral, Shaping::kNone), {1, 3, 2, 2, 8, 2});
  EXPECT_EQ(WeightsOf(shaped), (std::vector<float>{-1, 0, 3}));
  EXPECT_EQ(shaped.factor, 1.0 / (3 * 0.5));
}

TEST(ShapingTest, CenteredRanksAreHalvesOfDifferencesOfRanks) {
  // Ranks 0, 2, 1, 3 of 4, centred: -1/2, 1/6, -1/6, 1/2.
  const ShapedLosses shaped =
      ShapeAll(Shaped(Differences::kCentral, Shaping::kCenteredRanks), {1, 30, 20, 400});
  ASSERT_EQ(shaped.weights.size(), 2u);
  const double unshaped = 1.0 / (2 * 0.5);
  EXPECT_NEAR(shaped.factor * shaped.weights[0].weight, unshaped * (-1.0 / 2 - 1.0 / 6) / 2, 1e-15);
  EXPECT_NEAR(shaped.factor * shaped.weights[1].weight, unshaped * (-1.0 / 6 - 1.0 / 2) / 2, 1e-15);
}

TEST(ShapingTest, EqualLossesMakeNoStepWithShaping) {
  for (const Differences differences : {Differences::kCentral, Differences::kOneSided}) {
    for (const Shaping shaping : {Shaping::kCenteredRanks, Shaping::kZScore}) {
      for (const size_t num_losses : {2, 6, 14}) {
        // Sums of 0.1 are rounded, and so is their mean.
        const ShapedLosses shaped =
            ShapeAll(Shaped(differences, shaping), std::vector<double>(num_losses, 0.1));
        for (const PairWeight& pair : shaped.weights) {
          EXPECT_EQ(shaped.factor * static_cast<double>(pair.weight), 0) << num_losses;
        }
      }
    }
  }
}

TEST(ShapingTest, OnePairIsNoScore) {
  EXPECT_EQ(ShapeAll(Shaped(Differences::kOneSided, Shaping::kCenteredRanks), {3}).factor, 0);
  EXPECT_EQ(ShapeAll(Shaped(Differences::kOneSided, Shaping::kZScore), {3}).factor, 0);
}

TEST(ShapingTest, WeightsAndFactorAreFiniteIfDifferencesOfLossesAre) {
  const double largest = std::numeric_limits<float>::max() / 2;
  const double least = std::numeric_limits<double>::denorm_min();
  for (const std::vector<double>& losses :
       std::vector<std::vector<double>>{{largest, -largest, largest, largest},
                                        {0, least, 0, -least},
                                        {0, 1e-170, 1, 1},
                                        {1, 1, 1, std::nextafter(1.0, 2.0)}}) {
    for (const Differences differences : {Differences::kCentral, Differences::kOneSided}) {
      for (const Shaping shaping : {Shaping::kNone, Shaping::kCenteredRanks, Shaping::kZScore}) {
        const ShapedLosses shaped = ShapeAll(Shaped(differences, shaping), losses);
        EXPECT_TRUE(std::isfinite(shaped.factor));
        for (const PairWeight& pair : shaped.weights) EXPECT_TRUE(std::isfinite(pair.weight));
      }
    }
  }
}

TEST(ShapingTest, IfBetterNeedsALossThatIsSmaller) {
  SearchConfig config;
  config.method = SearchMethod::kRandomSearch;
  EXPECT_EQ(ShapeAll(config, {3, 1, 1, 2}, 1.5).kept_pair, 1u);  // the first of several
  EXPECT_EQ(ShapeAll(config, {3, 1, 1, 2}, 1.0).kept_pair, std::nullopt);
  EXPECT_EQ(ShapeAll(config, {3, 1, 1, 2}, std::nan("")).kept_pair, std::nullopt);
  config.direction = Direction::kMaximize;
  EXPECT_EQ(ShapeAll(config, {3, 1, 3, 2}, 2.5).kept_pair, 0u);
  EXPECT_EQ(ShapeAll(config, {3, 1, 1, 2}, 3.0).kept_pair, std::nullopt);
}

// --- What a report says.

TEST(SpreadTest, IsThatOfThePopulation) {
  const LossSpread spread = SpreadOf({1, 3, 2, 2, 3, 5});
  EXPECT_EQ(spread.num_finite, 6u);
  EXPECT_NEAR(spread.mean, 8.0 / 3, 1e-15);
  EXPECT_NEAR(spread.deviation, std::sqrt(14.0) / 3, 1e-15);
  EXPECT_EQ(spread.min, 1);
  EXPECT_EQ(spread.max, 5);
  EXPECT_EQ(spread.num_ties, 4u);
}

TEST(SpreadTest, LeavesOutInfiniteLossesExceptAmongTies) {
  LossSpread spread = SpreadOf({kInfinity, 1, kInfinity, 3});
  EXPECT_EQ(spread.mean, 2);
  EXPECT_EQ(spread.deviation, 1);
  EXPECT_EQ(spread.max, 3);
  EXPECT_EQ(spread.num_ties, 2u);
  spread = SpreadOf({-kInfinity, -kInfinity});
  EXPECT_EQ(spread.num_finite, 0u);
  EXPECT_EQ(spread.mean, 0);
  EXPECT_EQ(spread.num_ties, 2u);
}

TEST(SpreadTest, DoesNotDependOnTheOrderOfLosses) {
  std::vector<double> losses = {1e16, 1, -1e16, 3, 0.1, 0.2, 0.3};
  const double mean = SpreadOf(losses).mean;
  std::sort(losses.begin(), losses.end());
  do {
    ASSERT_EQ(SpreadOf(losses).mean, mean);
  } while (std::next_permutation(losses.begin(), losses.end()));
}

}  // namespace
}  // namespace talweg::core
