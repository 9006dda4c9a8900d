// SPDX-License-Identifier: Apache-2.0
//
// What each counted pair weighs in the estimate of the gradient,
//
//   g = c sum_p w_p eps_p          (core/noise/perturbation.h draws eps and sums)
//
// with n counted pairs, losses in double that MAXIMIZE has negated, and sigma as float32, widened:
//
//   differences    no shaping                     scale TUTORIAL      scale GRADIENT
//   CENTRAL        w = float((L+ - L-) / 2)       c = sigma / n       c = 1 / (n sigma)
//   ONE_SIDED      w = float(L+ - b)              c = sigma / n       c = 1 / (n sigma)
//   DIRECTIONAL    w = float(D)                   c = sigma^2 / n     c = 1 / n
//
//   baseline b: NONE 0; MEAN the mean of the losses; EVALUATED the loss at the parameters
//   themselves
//
//   shaping Z_SCORE            one-sided: w = float(L - mean); c <- c / deviation (population)
//   shaping CENTERED_RANKS     R = 2 #(smaller losses) + #(equal losses, itself excluded)
//     CENTRAL     w = R+ - R-,        c <- c / (4 (N - 1)),  N = 2n losses
//     ONE_SIDED   w = R - (N - 1),    c <- c / (2 (N - 1)),  N = n losses
//
// With the baseline MEAN the estimate without shaping has the expectation (1 - 1/n) times that of
// the others, because the mean contains the loss of the pair itself (GainOf).
//
// A rank R / (2 (N - 1)) - 1/2 is in [-1/2, 1/2], and equal losses share the average rank; a
// weight is a whole number, so that no rounding can favour one of them. With one loss, or with
// Z_SCORE if all losses are equal or their variance is 0, c is 0. (The losses are compared: their
// mean is rounded, so that their variance need not be 0.)
//
// IF_BETTER takes the pair with the smallest loss, the first one if there are several, if that loss
// is below the loss at the parameters: g = -dW of that pair, else 0. Gradient descent at rate 1
// then makes exactly the point that was evaluated.
//
// Sources: Salimans et al. 2017, arXiv:1703.03864 (centred ranks); the page proto/NOISE.md has the
// same definitions for other languages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "core/noise/perturbation.h"
#include "core/search/search_config.h"

namespace talweg::core {

// What the weights of a generation are made of.
struct ToldLosses {
  absl::Span<const uint32_t> pairs;  // that count, ascending; at least one
  // Of these pairs, as they were told: for CENTRAL the losses at W + dW and W - dW of each pair in
  // turn, else one number for each pair.
  absl::Span<const double> losses;
  std::optional<double> evaluated;  // the loss at the parameters, if it was evaluated
  float sigma = 0;
};

struct ShapedLosses {
  std::vector<PairWeight> weights;  // ascending; empty: the estimate is 0
  double factor = 0;
  // Set if the estimate is the negative displacement of this pair instead of a sum.
  std::optional<uint32_t> kept_pair = std::nullopt;
};

// O(n log n) with ranks, else O(n). If the configuration needs the evaluated loss, it must be
// there.
ShapedLosses Shape(const SearchConfig& config, const ToldLosses& told);

// What the expectation of an estimate without shaping is a multiple of: of the gradient, and of
// sigma^2 times the gradient with TUTORIAL. `n`: pairs that count.
inline double GainOf(const SearchConfig& config, size_t n) {
  return config.baseline == Baseline::kMean ? 1 - 1 / static_cast<double>(n) : 1;
}

// R of each loss, as above: whole numbers in [0, 2 (N - 1)]. NaN must not be among the losses.
std::vector<uint32_t> DoubledRanks(absl::Span<const double> losses);

// What a report says of losses. Infinite ones are left out of everything but `num_ties`.
struct LossSpread {
  size_t num_finite = 0;  // if it is 0, so are the next four
  double mean = 0, deviation = 0, min = 0, max = 0;
  uint32_t num_ties = 0;  // losses that are equal to another one
};
LossSpread SpreadOf(absl::Span<const double> losses);

}  // namespace talweg::core
