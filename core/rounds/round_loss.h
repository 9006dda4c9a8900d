// SPDX-License-Identifier: Apache-2.0
//
// The loss that is told of a version: the losses of its contributions, reduced as their gradients
// are. l_i is the first loss of contribution i, w_i its weight as counted (AggregationPolicy).
//
//   MEAN           Sum_i w_i l_i / Sum_i w_i, over the contributions that told a finite loss; the
//                  loss itself if there is one
//   TRIMMED_MEAN   the mean without floor(trim_fraction n) of the n losses at each end
//   MEDIAN         the middle loss, or the mean of the two middle losses if n is even
//
// Sums are exact and rounded once, so that the order of arrival makes no difference (a product may
// be rounded if its loss is below 1e-180). Losses that are not finite are left out and counted. If
// there is no other loss, their sum is told, which is an infinity or NaN. Only this room includes
// this file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/kernels/expansion.h"
#include "core/rounds/aggregation_config.h"

namespace talweg::core {

// Thread-compatible. Keeps 8 bytes per loss, except with the reduction MEAN.
class RoundLoss {
 public:
  // A contribution of this weight (finite, > 0) told a loss.
  void Add(double loss, float weight, Reduction reduction);

  struct Told {
    std::optional<double> loss;
    uint32_t num_left_out = 0;
  };
  // `config` has the reduction that was given to Add.
  Told Value(const AggregationConfig& config) const;

 private:
  double Reduced(const AggregationConfig& config) const;

  // Of the finite losses.
  double first_ = 0;
  ExactSum weighted_;           // of w l
  ExactSum weight_;             // of w; both are scaled down, so that no product overflows
  std::vector<double> losses_;  // empty with the reduction MEAN
  uint32_t num_finite_ = 0;

  double infinite_sum_ = 0;  // of the others: an infinity or NaN, whatever their order
  uint32_t num_infinite_ = 0;
};

}  // namespace talweg::core
