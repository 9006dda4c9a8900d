// SPDX-License-Identifier: Apache-2.0
//
// What a search steps by: against the gradient of a known quadratic within statistical bounds, and
// against the definition, element by element and bit for bit.
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/session/search_session_testing.h"
#include "gtest/gtest.h"

namespace talweg::core::search_session {
namespace {

constexpr uint64_t kRows = 20;
constexpr uint64_t kCols = 10;
constexpr uint64_t kMatrix = kRows * kCols;

// 1/2 sum h_i (W_i - 1/4)^2 over a matrix: its central differences are exact, except for rounding.
double Quadratic(const std::vector<float>& w) {
  double loss = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double x = double{w[i]} - 0.25;
    loss += (1 + 0.1 * static_cast<double>(i % 7)) * x * x / 2;
  }
  return loss;
}
std::vector<double> GradientAt(const std::vector<float>& w) {
  std::vector<double> gradient(w.size());
  for (size_t i = 0; i < w.size(); ++i) {
    gradient[i] = (1 + 0.1 * static_cast<double>(i % 7)) * (double{w[i]} - 0.25);
  }
  return gradient;
}
double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// The estimate of one generation: the rate is 1, so that it is what the step took away.
std::vector<double> EstimateOf(const SearchConfig& search, const LossFunction& loss = Quadratic) {
  const auto session = Make(Plain(search, {{"w", {kRows, kCols}}}));
  const std::vector<float> before = Values(*session);
  MakeVersion(*session, loss, RunHere, 1000);
  const std::vector<float> after = Values(*session);
  std::vector<double> estimate(before.size());
  for (size_t i = 0; i < before.size(); ++i) estimate[i] = double{before[i]} - after[i];
  return estimate;
}

struct Noise {
  const char* name;
  SearchNoise noise;
  uint64_t rank;
  double c;  // E |g - G|^2 = c |G|^2 / M (core/noise/perturbation.h)
};
const double kD = kMatrix;
const Noise kNoises[] = {
    {"dense normals", SearchNoise::kNormal, 0, kD + 1},
    {"dense signs", SearchNoise::kRademacher, 0, kD - 1},
    {"low rank normals", SearchNoise::kNormal, 2, kD + 1 + 2.0 * (kRows + kCols + 1) / 2},
    {"low rank signs", SearchNoise::kRademacher, 2, kD + 1 - 2.0 / 2},
};

SearchConfig With(const Noise& noise, uint64_t num_pairs, uint64_t seed) {
  SearchConfig search = Strategy(num_pairs, 0.03125);
  search.seed = seed;
  search.noise = noise.noise;
  search.rank = noise.rank;
  if (noise.rank > 0) search.perturbation = PerturbationKind::kLowRank;
  return search;
}

// |g - G|^2 M / (c |G|^2) has the mean 1. It is a sum over d nearly independent directions, each
// with the variance of a square of a normal, so its deviation is about sqrt(2 / d); the mean of
// kSeeds of them must be within five deviations.
TEST(SearchEstimateTest, TendsToTheGradientOfAQuadraticAsPairsBecomeMany) {
  constexpr int kSeeds = 8;
  const double bound = 5 * std::sqrt(2 / kD / kSeeds);
  const std::vector<double> gradient = GradientAt(PseudoVector(1, kMatrix));
  const double norm = Dot(gradient, gradient);
  for (const Noise& noise : kNoises) {
    for (const uint64_t num_pairs : {64u, 1024u}) {
      double mean = 0;
      for (int seed = 0; seed < kSeeds; ++seed) {
        std::vector<double> error = EstimateOf(With(noise, num_pairs, 100 + seed));
        for (size_t i = 0; i < error.size(); ++i) error[i] -= gradient[i];
        mean += Dot(error, error) * static_cast<double>(num_pairs) / (noise.c * norm) / kSeeds;
      }
      // The low rank elements of one displacement depend on each other.
      const double wider = noise.rank > 0 ? 3 * bound : bound;
      EXPECT_NEAR(mean, 1, wider) << noise.name << " " << num_pairs;
    }
  }
}

// E |g|^2 = |G|^2 (1 + c / M) and E <g, G> = |G|^2: the cosine is sqrt(M / (M + c)), where c is
// d - 1 with dense signs. The deviation of <g, G> / |G|^2 is sqrt(2 / M).
TEST(SearchEstimateTest, CosineWithTheGradientFollowsItsLaw) {
  const std::vector<double> gradient = GradientAt(PseudoVector(1, kMatrix));
  for (const Noise& noise : kNoises) {
    for (const double num_pairs : {32.0, 256.0, 2048.0}) {
      constexpr int kSeeds = 6;
      double mean = 0;
      for (int seed = 0; seed < kSeeds; ++seed) {
        const std::vector<double> estimate =
            EstimateOf(With(noise, static_cast<uint64_t>(num_pairs), 500 + seed));
        mean += Dot(estimate, gradient) /
                std::sqrt(Dot(estimate, estimate) * Dot(gradient, gradient)) / kSeeds;
      }
      const double law = std::sqrt(num_pairs / (num_pairs + noise.c));
      const double relative = 5 * std::sqrt((2 / num_pairs + 2 / kD) / kSeeds);
      EXPECT_NEAR(mean, law, std::min(0.5, relative) * law) << noise.name << " " << num_pairs;
    }
  }
}

// A loss whose even part is told exactly, and is far larger than the odd part.
TEST(SearchEstimateTest, AntitheticPairsCancelEvenTermsExactly) {
  const SessionConfig config = Plain(Strategy(9, 0.5), {{"w", {kMatrix}}});
  const auto with_even = Make(config);
  const auto odd_alone = Make(config);
  const auto even_alone = Make(config);
  for (uint32_t pair = 0; pair < 9; ++pair) {
    const double odd = 0.0625 * static_cast<double>(PseudoBits(3, pair) % 100);
    const double even = 1024.0 * static_cast<double>(PseudoBits(4, pair) % 1000);
    for (const auto& [session, plus, minus] :
         {std::tuple(with_even.get(), even + odd, even - odd),
          std::tuple(odd_alone.get(), odd, -odd), std::tuple(even_alone.get(), even, even)}) {
      AskFor(*session, "a", 1);
      TellAndRun(*session, TellOf(*session, "a", pair, {plus, minus}));
    }
  }
  ASSERT_EQ(with_even->version(), 1u);
  EXPECT_EQ(Values(*with_even), Values(*odd_alone));
  EXPECT_NE(Values(*with_even), PseudoVector(1, kMatrix));
  EXPECT_EQ(Values(*even_alone), PseudoVector(1, kMatrix));
}

std::vector<uint32_t> BitsOf(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

const std::vector<TensorSpec> kTensors = {
    {"scalar", {}}, {"w", {17, 9}}, {"b", {33}}, {"kernel", {4, 3, 2, 2}}};

// Three versions of W <- W - eta / M sum (L+ - L-) / 2 dW: the bits of a plain loop.
TEST(SearchUpdateTest, ATutorialScaleUpdateIsAPlainLoopBitForBit) {
  for (const uint64_t rank : {0u, 3u}) {
    for (const SearchNoise noise : {SearchNoise::kNormal, SearchNoise::kRademacher}) {
      SearchConfig search = Strategy(70, 0.25);  // more than one run of 64
      search.scale = EstimateScale::kTutorial;
      search.noise = noise;
      search.rank = rank;
      if (rank > 0) search.perturbation = PerturbationKind::kLowRank;
      const double eta = 3.0;
      const SessionConfig config = Plain(search, kTensors, eta);
      const PlainPerturbation plain = PlainOf(config);
      const auto session = Make(config);
      std::vector<float> expected = Values(*session);
      const size_t d = expected.size();
      for (uint32_t generation = 1; generation <= 3; ++generation) {
        std::vector<PairWeight> weights;
        std::vector<double> told;
        for (uint32_t pair = 0; pair < 70; ++pair) {
          std::vector<float> plus(d), minus(d);
          for (size_t i = 0; i < d; ++i) {
            const float dw = plain.Displacement({generation, pair}, 0.25f, i);
            plus[i] = expected[i] + dw;
            minus[i] = expected[i] - dw;
          }
          const double difference = Quadratic(plus) - Quadratic(minus);
          weights.push_back({pair, static_cast<float>(difference / 2)});
        }
        for (size_t i = 0; i < d; ++i) {
          const float g = plain.Estimate(generation, weights, 0.25 / 70, i);
          const float step = static_cast<float>(eta) * g;
          expected[i] = expected[i] - step;
        }
        MakeVersion(*session, Quadratic);
        ASSERT_EQ(BitsOf(Values(*session)), BitsOf(expected)) << rank << " " << generation;
      }
    }
  }
}

// The tutorial's own formula in float64, with everything that a policy may say about losses.
TEST(SearchUpdateTest, EstimatesAreTheFormulasOfThePage) {
  const double eta = 0.5;
  const auto config_of = [&](Differences differences, EstimateScale scale, Baseline baseline,
                             Direction direction) {
    SearchConfig search = Strategy(40, 0.125);
    search.differences = differences;
    search.scale = scale;
    search.baseline = baseline;
    search.direction = direction;
    return search;
  };
  for (const auto& [differences, baseline] :
       {std::pair(Differences::kCentral, Baseline::kNone),
        std::pair(Differences::kOneSided, Baseline::kMean),
        std::pair(Differences::kOneSided, Baseline::kEvaluated)}) {
    for (const EstimateScale scale : {EstimateScale::kTutorial, EstimateScale::kGradient}) {
      for (const Direction direction : {Direction::kMinimize, Direction::kMaximize}) {
        const SearchConfig search = config_of(differences, scale, baseline, direction);
        const SessionConfig config = Plain(search, kTensors, eta);
        const PlainPerturbation plain = PlainOf(config);
        const auto session = Make(config);
        const std::vector<float> w = Values(*session);
        std::vector<std::vector<double>> dw(40, std::vector<double>(w.size()));
        std::vector<double> plus(40), minus(40);
        double mean = 0;
        for (uint32_t pair = 0; pair < 40; ++pair) {
          std::vector<float> above(w), below(w);
          for (size_t i = 0; i < w.size(); ++i) {
            const float displacement = plain.Displacement({1, pair}, 0.125f, i);
            dw[pair][i] = displacement;
            above[i] += displacement;
            below[i] -= displacement;
          }
          plus[pair] = Quadratic(above);
          minus[pair] = Quadratic(below);
          mean += plus[pair] / 40;
        }
        const double base = baseline == Baseline::kMean ? mean : Quadratic(w);
        const double sign = direction == Direction::kMinimize ? 1 : -1;
        const double unit = scale == EstimateScale::kTutorial ? 1 : 0.125 * 0.125;
        MakeVersion(*session, Quadratic);
        const std::vector<float> after = Values(*session);
        for (size_t i = 0; i < w.size(); ++i) {
          double sum = 0;
          for (size_t pair = 0; pair < 40; ++pair) {
            const double loss = differences == Differences::kCentral
                                    ? (plus[pair] - minus[pair]) / 2
                                    : plus[pair] - base;
            sum += loss * dw[pair][i];
          }
          ASSERT_NEAR(after[i], w[i] - sign * eta / 40 / unit * sum, 2e-5) << i;
        }
      }
    }
  }
}

TEST(SearchUpdateTest, IfBetterGoesToThePointThatWasMeasuredOrStays) {
  for (const uint64_t rank : {0u, 1u, 3u}) {
    for (const SearchNoise noise : {SearchNoise::kNormal, SearchNoise::kRademacher}) {
      SearchConfig search = Strategy(2, 0.03125);
      search.method = SearchMethod::kRandomSearch;
      search.scale = EstimateScale::kTutorial;
      search.noise = noise;
      search.rank = rank;
      if (rank > 0) search.perturbation = PerturbationKind::kLowRank;
      const auto session = Make(Plain(search, kTensors));
      std::vector<float> best = Values(*session);
      double least = Quadratic(best);
      int num_kept = 0;
      for (int generation = 0; generation < 12; ++generation) {
        // The workers' own note of the best point.
        MakeVersion(*session, [&](const std::vector<float>& point) {
          const double loss = Quadratic(point);
          if (loss < least) {
            least = loss;
            best = point;
          }
          return loss;
        });
        ASSERT_EQ(BitsOf(Values(*session)), BitsOf(best)) << rank << " " << generation;
        num_kept += *session->last_step()->search->accepted ? 1 : 0;
      }
      EXPECT_GT(num_kept, 0);
      EXPECT_LT(num_kept, 12);
    }
  }
}

TEST(SearchUpdateTest, DroppedPairsAreInNeitherTheSumNorTheDivisor) {
  SearchConfig search = Strategy(4, 0.5);
  const SessionConfig config = Plain(search, {{"w", {7}}});
  const PlainPerturbation plain = PlainOf(config);
  const auto session = Make(config);
  const std::vector<float> w = Values(*session);
  AskFor(*session, "a", 4);
  TellAndRun(*session, TellOf(*session, "a", 0, {1, 3, std::nan(""), 7, 4, 2, 5, HUGE_VAL}));
  ASSERT_EQ(session->version(), 1u);
  const std::vector<PairWeight> weights = {{0, -1}, {2, 1}};
  for (size_t i = 0; i < w.size(); ++i) {
    const float g = plain.Estimate(1, weights, 1.0 / (2 * 0.5), i);
    EXPECT_EQ(session->parameters()->values.data()[i], w[i] - g);
  }
}

TEST(SearchUpdateTest, FrozenTensorsStay) {
  SessionConfig config = Plain(Strategy(6, 0.125), kTensors);
  GroupConfig frozen;
  frozen.frozen = true;
  config.groups = {{"w", ConfigOf<GroupConfig>(frozen)}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto session = Make(config);
  const std::vector<float> before = Values(*session);
  MakeVersion(*session, Quadratic);
  const std::vector<float> after = Values(*session);
  const uint64_t begin = config.layout->offsets()[1];
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i] == after[i], i >= begin && i < begin + 17 * 9) << i;
  }
}

}  // namespace
}  // namespace talweg::core::search_session
