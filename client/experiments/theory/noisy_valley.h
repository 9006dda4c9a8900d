// SPDX-License-Identifier: Apache-2.0
//
// A quadratic whose gradients are noisy, and what theory says about descending it with gradients
// that are averaged, or late.
//
//   f(x) = 1/2 sum_i h_i x_i^2       g_i = h_i x_i + noise of variance s h_i      x_i = 1 at first
//
// The noise is that of maximum likelihood: the covariance of the gradient of one example is the
// curvature. Each h_i stands for many coordinates, so that the loss of one run is near the mean.
//
// Workers that average (a synchronous round of n) divide the variance by n. Workers that take turns
// (each contribution makes a step, and n of them are on the way) take gradients that are tau = n -
// 1 versions old:
//
//   x_(t+1) = x_t - a g(x_(t - tau)),   x_t = x_0 for t < 0
//
// Both are one linear recursion. With its answer to the start m_t and to an impulse r_k,
//
//   m_(t+1) = m_t - a h m_(t - tau)     r_(k+1) = r_k - a h r_(k - tau), r_0 = 1, r_k = 0 for k < 0
//   E f_t = 1/2 sum_i h_i (m_t^2 + a^2 s h_i / n  sum_(k < t) r_k^2)
//
// It is stable for  a h < 2 sin(pi / (2 (2 tau + 1))):  2 without delay, about pi / (4 tau) with
// much.
//
// If the noise decides, the best rate is n times as large, or serves n times as many steps: both
// ways are n times as fast. If the curvature decides (a h_max is near the bound), neither gets
// faster.
//
// Sources: G. Zhang et al., "Which Algorithmic Choices Matter at Which Batch Sizes? Insights From a
// Noisy Quadratic Model", 2019 (averaged gradients); the bound: S. Levin, R. May, "A note on
// difference-delay equations", 1976.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

struct NoisyValley {
  std::vector<double> curvatures;  // h_i > 0, distinct
  double noise = 1;                // s >= 0

  // The loss of the start, with one coordinate for each curvature.
  double FirstLoss() const;
};

// How gradients become steps.
struct DescentScheme {
  uint64_t averaged = 1;  // gradients in a step
  uint64_t delay = 0;     // versions that a gradient is old
};

// The first step at which the expected loss is at or below `share` of the first loss, or
// `max_steps` if that step comes later or never.
uint64_t ExpectedSteps(const NoisyValley& valley, const DescentScheme& scheme, double rate,
                       double share, uint64_t max_steps);

struct TunedRate {
  double rate = 0;
  uint64_t steps = 0;  // expected
};

// The constant rate with the fewest expected steps, of 2^(-k/8) 2/h_max, k = 0, 1, ... 79: a
// thousandth of the largest rate that is stable without delay. Costs up to `max_steps` times the
// curvatures for each rate. If the result's `steps` is `max_steps`, no such rate arrives.
TunedRate TuneRate(const NoisyValley& valley, const DescentScheme& scheme, double share,
                   uint64_t max_steps);

}  // namespace talweg
