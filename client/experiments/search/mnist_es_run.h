// SPDX-License-Identifier: Apache-2.0
//
// What one training of `mnist_es` gave, and what it is expected to give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

// Evaluations of the loss that a gradient counts as: one forward pass, and a backward pass that
// costs about two.
inline constexpr uint64_t kEvaluationsOfGradient = 3;

// After `update` updates.
struct MnistEsPoint {
  uint64_t update = 0;
  double seconds = 0;        // since the beginning
  double loss = 0;           // on the coming update's minibatch, in nats; NaN: not told
  double test_loss = 0;      // on the whole test set; NaN: not tested
  double test_accuracy = 0;  // share of the test set; NaN: not tested
};

struct MnistEsRun {
  uint64_t num_pairs = 0;  // per update: the samples; 0: backpropagation
  uint64_t seed = 0;
  std::vector<uint64_t> widths;
  uint64_t num_steps = 0;            // that were asked for
  std::vector<MnistEsPoint> points;  // from update 0 on
  double first_cosine = 0;           // of the first step with the gradient; NaN: backpropagation

  bool searches() const { return num_pairs > 0; }
  uint64_t num_parameters() const;
  // Of one update. The loss at the parameters themselves, which is evaluated for the curve alone,
  // does not count.
  uint64_t evaluations() const { return searches() ? 2 * num_pairs : kEvaluationsOfGradient; }
  // "ES, 1,600 pairs", "backpropagation".
  std::string name() const;
  // After the last update that was tested; NaN if none was.
  double test_accuracy() const;
  double test_loss() const;
  double seconds_per_update() const;
  // What theory says of the cosine: sqrt(M / (M + d - 1)).
  double expected_cosine() const;
  bool cosine_fits() const;  // within 10 %
};

// Cosine of the angle between two vectors of one size; 0 if one of them is zero.
double Cosine(absl::Span<const float> a, absl::Span<const float> b);

// Where the test accuracy lies after 100 updates of the full network, both ends included.
struct AccuracyBand {
  double low = 0;
  double high = 0;
};
// Nothing for another network, number of updates or number of pairs than the figure has.
std::optional<AccuracyBand> BandOf(const MnistEsRun& run);

}  // namespace talweg
