// SPDX-License-Identifier: Apache-2.0
//
// What a search steps by: against the gradient of a known quadratic within statistical bounds, and
// against the definition, element by element and bit for bit.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
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
    {"DenseNormals", SearchNoise::kNormal, 0, kD + 1},
    {"DenseSigns", SearchNoise::kRademacher, 0, kD - 1},
    {"LowRankNormals", SearchNoise::kNormal, 2, kD + 1 + 2.0 * (kRows + kCols + 1) / 2},
    {"LowRankSigns", SearchNoise::kRademacher, 2, kD + 1 - 2.0 / 2},
};

SearchConfig With(const Noise& noise, uint64_t num_pairs, uint64_t seed) {
  SearchConfig search = Strategy(num_pairs, 0.03125);
  search.seed = seed;
  search.noise = noise.noise;
  search.rank = noise.rank;
  if (noise.rank > 0) search.perturbation = PerturbationKind::kLowRank;
  return search;
}

// The variance of u^2, where u = <G, E> / |G|: E u^4 - 1, because E u^2 = 1. With S = G^T G,
//
//   E u^4 |G|^4 = 3 |G|^4                                  DENSE, normals: u is a normal
//                 3 |G|^4 - 2 sum_ij G_ij^4                DENSE, signs
//                 T / r + 3 (1 - 1 / r) |G|^4              LOW_RANK(r)
//
// because <G, E> is there the sum of r independent t_k = a_k^T G b_k over sqrt(r), of which each
// has the mean 0 and E t^2 = |G|^2. T is E t^4. Given b, a^T (G b) is a normal of variance |G b|^2,
// or a sum of signs as in the dense case; and |G b|^2 = b^T S b. So
//
//   T = 3 (|G|^4 + 2 tr S^2)                                                            normals
//       3 |G|^4 + 6 tr S^2 - 6 sum_j |column j|^4 - 6 sum_i |row i|^4 + 4 sum_ij G_ij^4  signs
double VarianceOfSquare(const Noise& noise, const std::vector<double>& gradient) {
  double fourth = 0;  // sum of G_ij^4
  std::vector<double> of_row(kRows), of_column(kCols);
  std::vector<double> s(kCols * kCols);
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kCols; ++j) {
      const double x = gradient[i * kCols + j];
      fourth += x * x * x * x;
      of_row[i] += x * x;
      of_column[j] += x * x;
      for (size_t l = 0; l < kCols; ++l) s[j * kCols + l] += x * gradient[i * kCols + l];
    }
  }
  const double norm4 = std::pow(Dot(gradient, gradient), 2);
  const bool signs = noise.noise == SearchNoise::kRademacher;
  if (noise.rank == 0) return 3 - (signs ? 2 * fourth / norm4 : 0) - 1;
  double t = 3 * norm4 + 6 * Dot(s, s);
  if (signs) t += 4 * fourth - 6 * Dot(of_column, of_column) - 6 * Dot(of_row, of_row);
  const double r = static_cast<double>(noise.rank);
  return t / norm4 / r + 3 * (1 - 1 / r) - 1;
}

// Mean and central moments of a sample, and how far five deviations of its mean are.
struct Sample {
  explicit Sample(const std::vector<double>& values) {
    const double n = static_cast<double>(values.size());
    for (const double value : values) mean += value / n;
    for (const double value : values) {
      variance += std::pow(value - mean, 2) / (n - 1);
      fourth += std::pow(value - mean, 4) / n;
    }
    five_of_mean = 5 * std::sqrt(variance / n);
    five_of_variance = 5 * std::sqrt(std::max(0.0, fourth - variance * variance) / n);
  }
  double mean = 0, variance = 0, fourth = 0;
  double five_of_mean = 0;      // by the sample's own variance
  double five_of_variance = 0;  // by its own moments
};

// With central differences of a quadratic, g = 1/M sum_p <G, E_p> E_p. Then
//
//   the error       |g - G|^2 M / (c |G|^2)         has the mean 1
//   the projection  <g, G> / |G|^2 = mean of u_p^2  has the mean 1 and the variance V / M, where V,
//                                                   the variance of u^2, is 2 with dense normals
//   the cosine      <g, G> / (|g| |G|)              is about sqrt(M / (M + c)), because
//                                                   E |g|^2 = |G|^2 (1 + c / M)
//
// Each must hold within five deviations of the mean of many seeds. That of the projection is known;
// those of the other two are the sample's own. The cosine's mean is a little beside its law,
// because it bends: with h = c / M and q = h / (1 + h), its square is about P / (h (1 + e) + P), of
// which P has the variance V / M and e the variance 2 / d, so that its mean is the law's times
// 1 + V (3/8 q^2 - q / 2) / M + 3/4 q^2 / d. Of 8 pairs the loss of one is seen: it is 12 % of the
// projection.
class SearchEstimateLawTest : public testing::TestWithParam<Noise> {};

TEST_P(SearchEstimateLawTest, ErrorProjectionAndCosineFollowTheirLaws) {
  const Noise& noise = GetParam();
  const std::vector<double> gradient = GradientAt(PseudoVector(1, kMatrix));
  const double norm = Dot(gradient, gradient);
  const double v = VarianceOfSquare(noise, gradient);
  for (const auto& [num_pairs, num_seeds] :
       {std::pair(8, 1200), std::pair(64, 200), std::pair(256, 60), std::pair(2048, 12)}) {
    SCOPED_TRACE(testing::Message() << num_pairs << " pairs");
    const double m = num_pairs;
    std::vector<double> errors, projections, cosines;
    for (int seed = 0; seed < num_seeds; ++seed) {
      const std::vector<double> estimate =
          EstimateOf(With(noise, static_cast<uint64_t>(num_pairs), 100 + seed));
      std::vector<double> error = estimate;
      for (size_t i = 0; i < error.size(); ++i) error[i] -= gradient[i];
      errors.push_back(Dot(error, error) * m / (noise.c * norm));
      projections.push_back(Dot(estimate, gradient) / norm);
      cosines.push_back(Dot(estimate, gradient) / std::sqrt(Dot(estimate, estimate) * norm));
    }
    const Sample error(errors), projection(projections), cosine(cosines);
    EXPECT_NEAR(error.mean, 1, error.five_of_mean);
    EXPECT_NEAR(projection.mean, 1, 5 * std::sqrt(v / m / num_seeds));
    EXPECT_NEAR(projection.variance, v / m, projection.five_of_variance);
    const double q = noise.c / (m + noise.c);
    const double bent = v * (3.0 / 8 * q * q - q / 2) / m + 3.0 / 4 * q * q / kD;
    const double law = std::sqrt(m / (m + noise.c));
    EXPECT_NEAR(cosine.mean, law * (1 + bent), cosine.five_of_mean);
  }
}

INSTANTIATE_TEST_SUITE_P(Noises, SearchEstimateLawTest, testing::ValuesIn(kNoises),
                         [](const auto& noise) { return std::string(noise.param.name); });

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
