// SPDX-License-Identifier: Apache-2.0
//
// K-FAC against the same formulas in double, with the Kronecker product written out as one matrix
// that is inverted by elimination.
#include "core/optimizers/kfac.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/half_float.h"
#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

std::vector<float> Noise(size_t size, uint64_t seed, double scale = 1) {
  std::vector<float> values(size);
  for (float& value : values) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    value = static_cast<float>(scale * (static_cast<double>(seed >> 40) / 8388608 - 1));
  }
  return values;
}

// Two layers and a vector that is in none: w1 [4, 3] with bias, as PyTorch has it; w2 [2, 4, 5], as
// JAX has it, without.
ParameterSpace TwoLayers() {
  auto layout = std::make_shared<const Layout>(
      *Layout::Create({{"w2", {2, 4, 5}}, {"b1", {4}}, {"v", {7}}, {"w1", {4, 3}}}));
  KroneckerLayer first;
  first.weight = 3;
  first.bias = 1;
  first.inputs = 3;
  first.outputs = 4;
  KroneckerLayer second;
  second.weight = 0;
  second.orientation = Orientation::kInOut;
  second.inputs = 8;
  second.outputs = 5;
  return {layout, {}, {first, second}};
}

// The packed mean outer product of `num_rows` rows of noise.
std::vector<float> RandomFactor(size_t side, size_t num_rows, uint64_t seed) {
  const std::vector<float> rows = Noise(side * num_rows, seed, 1.5);
  std::vector<float> packed;
  for (size_t i = 0; i < side; ++i) {
    for (size_t j = i; j < side; ++j) {
      double sum = 0;
      for (size_t r = 0; r < num_rows; ++r) {
        sum += static_cast<double>(rows[r * side + i]) * static_cast<double>(rows[r * side + j]);
      }
      packed.push_back(static_cast<float>(sum / static_cast<double>(num_rows)));
    }
  }
  return packed;
}

std::vector<float> RandomStatistics(const ParameterSpace& space, uint64_t seed,
                                    size_t num_rows = 20) {
  std::vector<float> statistics;
  for (const KroneckerLayer& layer : space.layers) {
    for (const size_t factor : {0, 1}) {
      const auto packed = RandomFactor(layer.side(factor), num_rows, seed++ * 7919 + factor);
      statistics.insert(statistics.end(), packed.begin(), packed.end());
    }
  }
  return statistics;
}

using Matrix = std::vector<std::vector<double>>;

// x of a x = b, by elimination with pivots.
std::vector<double> Solve(Matrix a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t i = k; i < n; ++i) {
      if (std::abs(a[i][k]) > std::abs(a[pivot][k])) pivot = i;
    }
    std::swap(a[k], a[pivot]);
    std::swap(b[k], b[pivot]);
    for (size_t i = k + 1; i < n; ++i) {
      const double factor = a[i][k] / a[k][k];
      for (size_t j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  }
  for (size_t k = n; k-- > 0;) {
    for (size_t j = k + 1; j < n; ++j) b[k] -= a[k][j] * b[j];
    b[k] /= a[k][k];
  }
  return b;
}

// The formulas of the header, in double.
class Reference {
 public:
  Reference(const KfacConfig& config, const ParameterSpace& space,
            const std::vector<float>& initial)
      : config_(config), space_(space), w_(initial.begin(), initial.end()), m_(w_.size()) {
    v_.resize(w_.size());
    for (const KroneckerLayer& layer : space.layers) {
      for (const size_t factor : {0, 1}) average_.emplace_back(PackedSize(layer.side(factor)));
    }
  }

  void Step(const std::vector<float>& gradient, const std::vector<float>* statistics, double eta,
            double decay = 0, double coupled = 0) {
    ++number_;
    if (statistics != nullptr) TakeStatistics(*statistics);
    const bool refreshes =
        factors_ > refreshed_ && (refreshed_ == 0 || number_ <= config_.refresh_each_until ||
                                  number_ >= refreshed_ + config_.refresh_every);
    if (refreshes) refreshed_ = factors_;
    std::vector<double> g(gradient.begin(), gradient.end());
    std::vector<bool> is_in_layer(w_.size());
    std::vector<std::pair<std::vector<size_t>, std::vector<double>>> moves;
    double sum = 0;
    for (size_t index = 0; index < space_.layers.size(); ++index) {
      const std::vector<size_t> at = ElementsOf(space_.layers[index]);
      for (const size_t element : at) is_in_layer[element] = true;
      std::vector<double> v;
      for (const size_t element : at) {
        if (config_.momentum_order == MomentumOrder::kBefore) {
          m_[element] = config_.beta * m_[element] + (1 - config_.beta) * g[element];
          v.push_back(m_[element]);
        } else {
          v.push_back(g[element]);
        }
      }
      if (refreshes) fisher_[index] = DampedFisher(index, coupled);
      std::vector<double> u = Solve(fisher_[index], v);
      for (size_t i = 0; i < u.size(); ++i) sum += eta * eta * u[i] * v[i];
      moves.emplace_back(at, u);
    }
    nu = config_.kl_clip > 0 && sum > 0 ? std::min(1.0, std::sqrt(config_.kl_clip / sum)) : 1;
    if (config_.fisher_clip > 0) {
      // U^T F U with the dense matrix of the factors as they are.
      double length = 0;
      for (size_t index = 0; index < moves.size(); ++index) {
        const std::vector<double>& u = moves[index].second;
        for (size_t i = 0; i < u.size(); ++i) {
          for (size_t j = 0; j < u.size(); ++j) length += u[i] * undamped_[index][i][j] * u[j];
        }
      }
      nu = std::min(1.0, std::sqrt(config_.fisher_clip / (eta * eta * length)));
    }
    // M(d) = <G, d> + 1/2 <d, F_lambda d> with the dense matrix.
    foretold = 0;
    for (size_t index = 0; index < moves.size(); ++index) {
      const auto& [at, u] = moves[index];
      for (size_t i = 0; i < u.size(); ++i) {
        const double d = -eta * nu * u[i];
        foretold += g[at[i]] * d;
        for (size_t j = 0; j < u.size(); ++j) {
          foretold += d * fisher_[index][i][j] * -eta * nu * u[j] / 2;
        }
      }
    }
    for (const auto& [at, u] : moves) {
      for (size_t i = 0; i < u.size(); ++i) {
        double move = nu * u[i];
        if (config_.momentum_order == MomentumOrder::kAfter) {
          m_[at[i]] = config_.beta * m_[at[i]] + (1 - config_.beta) * move;
          move = m_[at[i]];
        }
        w_[at[i]] -= eta * decay * w_[at[i]] + eta * move;
      }
    }
    const double f = config_.fallback_rate_factor;
    for (size_t i = 0; i < w_.size(); ++i) {
      if (is_in_layer[i]) continue;
      m_[i] = config_.fallback_beta1 * m_[i] + (1 - config_.fallback_beta1) * g[i];
      if (config_.fallback == Fallback::kMomentum) {
        w_[i] -= eta * decay * w_[i] + eta * f * m_[i];
        continue;
      }
      v_[i] = config_.fallback_beta2 * v_[i] + (1 - config_.fallback_beta2) * g[i] * g[i];
      const double t = static_cast<double>(number_);
      const double c1 = 1 - std::pow(config_.fallback_beta1, t);
      const double c2 = 1 - std::pow(config_.fallback_beta2, t);
      w_[i] -= eta * decay * w_[i] +
               eta * f * m_[i] / c1 / (std::sqrt(v_[i] / c2) + config_.fallback_epsilon);
    }
  }

  const std::vector<double>& w() const { return w_; }
  double nu = 1;
  double foretold = 0;  // by the model, of the last step

  void SetDamping(double damping) { config_.damping = damping; }

 private:
  void TakeStatistics(const std::vector<float>& statistics) {
    const double kept = config_.starts_with_first && weight_ == 0 ? 0 : config_.statistics_decay;
    auto next = statistics.begin();
    for (auto& average : average_) {
      for (double& value : average) {
        value = kept * value + (1 - kept) * static_cast<double>(*next++);
      }
    }
    weight_ = kept * weight_ + (1 - kept);
    factors_ = number_;
  }

  // (A + ...) (x) (S + ...) over the elements as ElementsOf lists them: index o * side + i.
  Matrix DampedFisher(size_t index, double coupled) {
    const KroneckerLayer& layer = space_.layers[index];
    Matrix factors[2];
    double mean[2];
    for (const size_t factor : {0, 1}) {
      const size_t side = layer.side(factor);
      factors[factor].assign(side, std::vector<double>(side));
      auto next = average_[2 * index + factor].begin();
      mean[factor] = 0;
      for (size_t i = 0; i < side; ++i) {
        for (size_t j = i; j < side; ++j) {
          factors[factor][i][j] = factors[factor][j][i] = *next++ / weight_;
        }
        mean[factor] += factors[factor][i][i] / static_cast<double>(side);
      }
    }
    const double pi = config_.pi == PiRule::kTrace ? std::sqrt(mean[0] / mean[1]) : 1;
    undamped_[index] = Kronecker(layer, factors);
    const double root = std::sqrt(config_.damping + coupled);
    for (auto i = 0u; i < factors[0].size(); ++i) factors[0][i][i] += pi * root;
    for (auto i = 0u; i < factors[1].size(); ++i) factors[1][i][i] += root / pi;
    return Kronecker(layer, factors);
  }

  static Matrix Kronecker(const KroneckerLayer& layer, const Matrix (&factors)[2]) {
    const size_t side = layer.input_side();
    const size_t size = side * layer.outputs;
    Matrix fisher(size, std::vector<double>(size));
    for (size_t a = 0; a < size; ++a) {
      for (size_t b = 0; b < size; ++b) {
        fisher[a][b] = factors[0][a % side][b % side] * factors[1][a / side][b / side];
      }
    }
    return fisher;
  }

  // Where the matrix [W b] stands in the flat vector, row by row.
  std::vector<size_t> ElementsOf(const KroneckerLayer& layer) const {
    const auto offsets = space_.layout->offsets();
    std::vector<size_t> at;
    for (size_t o = 0; o < layer.outputs; ++o) {
      for (size_t i = 0; i < layer.inputs; ++i) {
        at.push_back(offsets[layer.weight] + (layer.orientation == Orientation::kOutIn
                                                  ? o * layer.inputs + i
                                                  : i * layer.outputs + o));
      }
      if (layer.bias.has_value()) at.push_back(offsets[*layer.bias] + o);
    }
    return at;
  }

  KfacConfig config_;
  ParameterSpace space_;
  std::vector<double> w_, m_, v_;
  std::vector<std::vector<double>> average_;
  double weight_ = 0;
  uint64_t number_ = 0, factors_ = 0, refreshed_ = 0;
  Matrix fisher_[2], undamped_[2];
};

// A step with statistics (or none), in one piece and out of place.
void StepWith(Kfac& kfac, uint64_t number, const StepRates& rates,
              const std::vector<float>& gradient, const std::vector<float>* statistics,
              std::vector<float>& parameters) {
  std::vector<float> next(parameters.size());
  kfac.BeginStep(number);
  if (statistics != nullptr) {
    kfac.curvature()->BeginAverage();
    kfac.curvature()->AverageShard({0, statistics->size()}, *statistics);
  }
  kfac.Apply(rates, {0, parameters.size()}, gradient, parameters, absl::MakeSpan(next));
  kfac.EndPass(0);
  for (size_t pass = 0; pass < kfac.NumPasses(); ++pass) {
    const size_t num_tasks = kfac.NumTasks(pass);
    for (size_t task = 0; task < num_tasks; ++task) {
      kfac.RunTask(
          pass, task, [&](size_t) { return &rates; }, parameters, absl::MakeSpan(next));
    }
    kfac.EndPass(pass + 1);
  }
  parameters = next;
}

// 30 steps with changing statistics, which do not come at every step.
void ExpectTrajectory(const KfacConfig& config, double decay = 0, double coupled = 0,
                      bool expects_clipping = false) {
  const ParameterSpace space = TwoLayers();
  const std::vector<float> initial = Noise(space.num_elements(), 1);
  Kfac kfac(config, space);
  Reference reference(config, space, initial);
  std::vector<float> w = initial;
  bool was_clipped = false;
  for (uint64_t number = 1; number <= 30; ++number) {
    const double eta = 0.1 + 0.01 * static_cast<double>(number % 3);
    const std::vector<float> gradient = Noise(w.size(), 100 + number);
    const std::vector<float> statistics = RandomStatistics(space, number);
    const bool has_statistics = number % 4 != 2;
    const auto* given = has_statistics ? &statistics : nullptr;
    StepWith(kfac, number, {eta, decay, coupled}, gradient, given, w);
    reference.Step(gradient, given, eta, decay, coupled);
    was_clipped = was_clipped || reference.nu < 1;
    ASSERT_NEAR(kfac.CurvatureReport().step_clip_factor, reference.nu, 1e-4);
    for (size_t i = 0; i < w.size(); ++i)
      ASSERT_NEAR(w[i], reference.w()[i], 2e-4) << number << " " << i;
  }
  EXPECT_EQ(was_clipped, expects_clipping);
}

KfacConfig Synchronous() {
  KfacConfig config;
  config.damping = 0.3;
  config.statistics_decay = 0.8;
  config.refresh = RefreshMode::kSynchronous;
  config.refresh_every = 3;
  config.refresh_each_until = 5;
  return config;
}

TEST(KfacTest, FollowsTheDenseFisherMatrix) { ExpectTrajectory(Synchronous()); }

TEST(KfacTest, FollowsItWithoutPi) {
  KfacConfig config = Synchronous();
  config.pi = PiRule::kOff;
  ExpectTrajectory(config);
}

TEST(KfacTest, FollowsItWithMomentumBehind) {
  KfacConfig config = Synchronous();
  config.momentum_order = MomentumOrder::kAfter;
  config.kl_clip = 0.05;
  ExpectTrajectory(config, 0, 0, /*expects_clipping=*/true);
}

TEST(KfacTest, FollowsItWithoutMomentumAndWithClipping) {
  KfacConfig config = Synchronous();
  config.beta = 0;
  config.kl_clip = 0.05;
  ExpectTrajectory(config, 0, 0, /*expects_clipping=*/true);
}

TEST(KfacTest, FollowsItWithBothDecaysAndMomentumAsFallback) {
  KfacConfig config = Synchronous();
  config.fallback = Fallback::kMomentum;
  config.fallback_rate_factor = 0.25;
  ExpectTrajectory(config, /*decay=*/0.1, /*coupled=*/0.2);
}

TEST(KfacTest, FollowsItWithTheRateOfTheFisherMatrix) {
  for (const double beta : {0.0, 0.9}) {
    KfacConfig config = Synchronous();
    config.beta = beta;
    config.fisher_clip = 0.002;
    ExpectTrajectory(config, 0, /*coupled=*/0.1, /*expects_clipping=*/true);
  }
}

TEST(KfacTest, FirstStatisticsMayBeTheWholeAverage) {
  KfacConfig config = Synchronous();
  config.starts_with_first = true;
  ExpectTrajectory(config);
}

// Losses that are made up tell how well the model foretold a step; the reference's own damping
// follows the rule of Levenberg and Marquardt.
TEST(KfacTest, DampingFollowsHowWellTheModelForetells) {
  KfacConfig config = Synchronous();
  config.adapt_every = 2;
  config.adapt_factor = 0.8;
  config.damping_min = 0.2;
  config.kl_clip = 0.05;
  const ParameterSpace space = TwoLayers();
  const std::vector<float> initial = Noise(space.num_elements(), 1);
  Kfac kfac(config, space);
  Reference reference(config, space, initial);
  std::vector<float> w = initial;
  double lambda = config.damping;
  uint64_t adapted = 0;
  std::vector<double> seen;
  for (uint64_t number = 1; number <= 24; ++number) {
    if (number > 1) {
      const double ratio = number < 8 ? 0.1 : number < 14 ? 0.5 : 0.9;
      kfac.TakeLossChange({number - 1, 5, 5 + ratio * reference.foretold});
      if (number - 1 - adapted >= 2) {
        adapted = number - 1;
        if (ratio > 0.75) lambda *= 0.8 * 0.8;
        if (ratio < 0.25) lambda /= 0.8 * 0.8;
        lambda = std::max(lambda, 0.2);
      }
      reference.SetDamping(lambda);
    }
    const std::vector<float> gradient = Noise(w.size(), 100 + number);
    const std::vector<float> statistics = RandomStatistics(space, number);
    StepWith(kfac, number, {0.1, 0, 0.05}, gradient, &statistics, w);
    reference.Step(gradient, &statistics, 0.1, 0, 0.05);
    const CurvatureNumbers numbers = kfac.CurvatureReport();
    ASSERT_NEAR(numbers.damping, lambda, 1e-12) << number;
    ASSERT_EQ(numbers.reduction_ratio.has_value(), number > 1);
    if (number > 1) {
      ASSERT_NEAR(*numbers.reduction_ratio, number < 8 ? 0.1 : number < 14 ? 0.5 : 0.9, 1e-4);
    }
    for (size_t i = 0; i < w.size(); ++i) ASSERT_NEAR(w[i], reference.w()[i], 2e-4) << number;
    seen.push_back(lambda);
  }
  EXPECT_GT(*std::max_element(seen.begin(), seen.end()), 0.9);
  EXPECT_EQ(seen.back(), 0.2);
  // Not of the last step, or of none: nothing is adapted.
  kfac.TakeLossChange({3, 5, 4});
  kfac.TakeLossChange({25, 5, 4});
  EXPECT_EQ(kfac.CurvatureReport().damping, 0.2);
}

TEST(KfacTest, AdaptationNeedsAModelOfTheStep) {
  KfacConfig config;
  config.adapt_every = 5;
  EXPECT_TRUE(config.Validate().ok());
  config.momentum_order = MomentumOrder::kAfter;
  EXPECT_FALSE(config.Validate().ok());
  config.beta = 0;
  EXPECT_TRUE(config.Validate().ok());
  config.damping_min = 2;
  config.damping_max = 1;
  EXPECT_FALSE(config.Validate().ok());
}

TEST(KfacTest, LayersStayWithoutInversesInBurnInAndWhenFrozen) {
  const ParameterSpace space = TwoLayers();
  const std::vector<float> initial = Noise(space.num_elements(), 1);
  const std::vector<float> gradient = Noise(space.num_elements(), 2);
  KfacConfig config = Synchronous();
  config.burn_in_steps = 2;
  Kfac kfac(config, space);
  std::vector<float> w = initial;
  const auto moved = [&] {
    size_t count = 0;
    for (size_t i = 0; i < w.size(); ++i) count += w[i] != initial[i] ? 1 : 0;
    return count;
  };
  const std::vector<float> statistics = RandomStatistics(space, 1);
  StepWith(kfac, 1, {0.1}, gradient, nullptr, w);
  EXPECT_EQ(moved(), 7u);  // the tensor that is in no layer
  EXPECT_EQ(kfac.CurvatureReport().num_layers_without_inverse, 2u);
  StepWith(kfac, 2, {0.1}, gradient, &statistics, w);
  EXPECT_EQ(moved(), 7u);
  EXPECT_EQ(kfac.CurvatureReport().num_layers_without_inverse, 0u);
  StepWith(kfac, 3, {0.1}, gradient, nullptr, w);
  EXPECT_EQ(moved(), w.size());
}

// <U, V> <= 0 needs an inverse that is not positive, which no refresh makes; zero gradients do.
TEST(KfacTest, StepWithoutADirectionIsNotClippedAndCounted) {
  const ParameterSpace space = TwoLayers();
  KfacConfig config = Synchronous();
  config.kl_clip = 1e-3;
  Kfac kfac(config, space);
  std::vector<float> w = Noise(space.num_elements(), 1);
  const std::vector<float> before = w;
  const std::vector<float> statistics = RandomStatistics(space, 1);
  StepWith(kfac, 1, {0.1}, std::vector<float>(w.size()), &statistics, w);
  EXPECT_EQ(w, before);
  EXPECT_EQ(kfac.CurvatureReport().step_clip_factor, 1);
  EXPECT_EQ(kfac.CurvatureReport().num_unclipped_steps, 1u);
}

TEST(KfacTest, RefreshBesideTheStepsIsInstalledWhenItIsReady) {
  const ParameterSpace space = TwoLayers();
  KfacConfig config = Synchronous();
  config.refresh = RefreshMode::kBackground;
  config.refresh_every = 1;
  config.refresh_each_until = 0;
  config.max_inverse_age = 3;
  Kfac kfac(config, space);
  Curvature& curvature = *kfac.curvature();
  std::vector<float> w = Noise(space.num_elements(), 1);
  const auto step = [&](uint64_t number) {
    const std::vector<float> statistics = RandomStatistics(space, number);
    StepWith(kfac, number, {0.1}, Noise(w.size(), number), &statistics, w);
  };
  step(1);  // the first step has none, and makes them
  EXPECT_EQ(curvature.InverseVersion(), 1u);
  EXPECT_FALSE(curvature.WantsRefresh());
  step(2);
  EXPECT_TRUE(curvature.WantsRefresh());
  const auto refresh = kfac.TakeRefresh();
  EXPECT_EQ(refresh->factors_version(), 2u);
  step(3);
  EXPECT_EQ(kfac.CurvatureReport().inverse_age_steps, 2u);
  refresh->RunHere();
  EXPECT_TRUE(curvature.Install(*refresh));
  step(4);
  EXPECT_EQ(kfac.CurvatureReport().inverse_version, 2u);
  const auto lost = kfac.TakeRefresh();  // never comes back
  step(5);
  EXPECT_EQ(kfac.CurvatureReport().inverse_version, 2u);
  step(6);  // 2 is too old
  EXPECT_EQ(kfac.CurvatureReport().inverse_version, 6u);
  lost->RunHere();
  EXPECT_FALSE(curvature.Install(*lost));  // 4 is older than 6
  EXPECT_EQ(curvature.InverseVersion(), 6u);
}

TEST(KfacTest, ResumedRunEqualsAnUninterruptedOne) {
  const ParameterSpace space = TwoLayers();
  Kfac kfac(Synchronous(), space);
  std::vector<float> w = Noise(space.num_elements(), 1);
  const auto step = [&](Kfac& one, uint64_t number, std::vector<float>& at) {
    const std::vector<float> statistics = RandomStatistics(space, number);
    StepWith(one, number, {0.1}, Noise(at.size(), number), number % 2 == 1 ? &statistics : nullptr,
             at);
  };
  for (uint64_t number = 1; number <= 7; ++number) step(kfac, number, w);
  Kfac resumed(Synchronous(), space);
  Restore(StateOf(kfac), resumed);
  std::vector<float> again = w;
  for (uint64_t number = 8; number <= 12; ++number) {
    step(kfac, number, w);
    step(resumed, number, again);
    ASSERT_EQ(w, again) << number;
  }
}

// Whatever the statistics and gradients are, as long as they are finite, so are the parameters:
// 100,000 steps with factors of rank one, zero, negative, indefinite, rounded to bfloat16, of any
// size. (What is not finite does not come so far: session_statistics_test.cc.)
TEST(KfacTest, NoHostileStatisticsMakeAParameterThatIsNotFinite) {
  const ParameterSpace space = TwoLayers();
  uint64_t seed = 1;
  const auto draw = [&](uint64_t below) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (seed >> 33) % below;
  };
  uint64_t num_failed = 0, num_raised = 0, num_too_long = 0;
  for (int turn = 0; turn < 25000; ++turn) {
    KfacConfig config = Synchronous();
    config.refresh_every = 1;
    config.damping = draw(3) == 0 ? 0 : std::pow(10.0, static_cast<double>(draw(60)) - 30);
    config.kl_clip = draw(2) == 0 ? 0 : 0.01;
    config.momentum_order = draw(2) == 0 ? MomentumOrder::kBefore : MomentumOrder::kAfter;
    Kfac kfac(config, space);
    std::vector<float> w = Noise(space.num_elements(), 1);
    for (uint64_t number = 1; number <= 4; ++number) {
      std::vector<float> statistics = RandomStatistics(space, draw(1000), 1 + draw(3));
      const uint64_t kind = draw(7);
      const double scale = std::pow(10.0, static_cast<double>(draw(60)) - 30);
      for (float& value : statistics) {
        value = static_cast<float>(value * scale);
        if (kind == 1) value = 0;
        if (kind == 2) value = -value;
        if (kind == 4) value = Float32FromBfloat16(Bfloat16FromFloat32(value));
        if (kind == 3) value = static_cast<float>(Noise(1, draw(1 << 20))[0] * 3e38f);
      }
      const double size = std::pow(10.0, static_cast<double>(draw(70)) - 35);
      std::vector<float> gradient = Noise(w.size(), draw(1000), std::min(size, 3e38));
      StepWith(kfac, number, {1}, gradient, &statistics, w);
      for (const float value : w) ASSERT_TRUE(std::isfinite(value)) << turn << " " << number;
    }
    const CurvatureNumbers numbers = kfac.CurvatureReport();
    num_failed += numbers.num_failed_inverses;
    num_raised += numbers.num_raised_dampings;
    num_too_long += numbers.num_too_long_steps;
  }
  EXPECT_GT(num_failed, 100u);
  EXPECT_GT(num_raised, 100u);
  EXPECT_GT(num_too_long, 100u);
}

TEST(KfacPlanTest, BlocksCoverEveryOutputOnce) {
  auto layout = std::make_shared<const Layout>(*Layout::Create({{"w", {3000, 2000}}}));
  KroneckerLayer layer;
  layer.inputs = 2000;
  layer.outputs = 3000;
  const KfacPlan plan({layout, {}, {layer}});
  EXPECT_GT(plan.blocks.size(), 10u);
  uint64_t next = 0;
  for (const KfacPlan::Block& block : plan.blocks) {
    EXPECT_EQ(block.begin, next);
    EXPECT_GT(block.end, block.begin);
    next = block.end;
  }
  EXPECT_EQ(next, 3000u);
}

}  // namespace
}  // namespace talweg::core
