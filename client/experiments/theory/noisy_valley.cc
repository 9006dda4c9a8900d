// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/noisy_valley.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace talweg {
namespace {

constexpr int kRatesAnOctave = 8;
constexpr int kNumRates = 80;
constexpr double kDiverged = 1e6;  // times the first loss

}  // namespace

double NoisyValley::FirstLoss() const {
  return std::accumulate(curvatures.begin(), curvatures.end(), 0.0) / 2;
}

uint64_t ExpectedSteps(const NoisyValley& valley, const DescentScheme& scheme, double rate,
                       double share, uint64_t max_steps) {
  const size_t size = valley.curvatures.size();
  const double target = share * valley.FirstLoss();
  // The last delay + 1 values of m and of r, at t modulo that.
  const size_t memory = scheme.delay + 1;
  std::vector<double> m(memory * size, 1.0);
  std::vector<double> r(memory * size, 0.0);
  std::fill(r.begin(), r.begin() + static_cast<std::ptrdiff_t>(size), 1.0);
  std::vector<double> sums(size);  // of r_k^2
  const double noise = rate * rate * valley.noise / static_cast<double>(scheme.averaged);
  for (uint64_t t = 0; t < max_steps; ++t) {
    const size_t now = (t % memory) * size;
    const size_t next = ((t + 1) % memory) * size;  // also where t - delay stands
    double descended = 0;                           // the loss that the start has left
    double noisy = 0;                               // and what noise has made since: it only grows
    for (size_t i = 0; i < size; ++i) {
      const double h = valley.curvatures[i];
      descended += h * m[now + i] * m[now + i] / 2;
      noisy += noise * h * h * sums[i] / 2;
      sums[i] += r[now + i] * r[now + i];
      m[next + i] = m[now + i] - rate * h * m[next + i];
      r[next + i] = r[now + i] - rate * h * r[next + i];
    }
    if (descended + noisy <= target) return t;
    if (noisy > target || !(descended < kDiverged * valley.FirstLoss())) break;
  }
  return max_steps;
}

TunedRate TuneRate(const NoisyValley& valley, const DescentScheme& scheme, double share,
                   uint64_t max_steps) {
  const double steepest = *std::max_element(valley.curvatures.begin(), valley.curvatures.end());
  TunedRate best = {0, max_steps};
  for (int k = 0; k < kNumRates; ++k) {
    const double rate = 2 / steepest * std::exp2(-static_cast<double>(k) / kRatesAnOctave);
    const uint64_t steps = ExpectedSteps(valley, scheme, rate, share, best.steps);
    if (steps < best.steps) best = {rate, steps};
  }
  return best;
}

}  // namespace talweg
