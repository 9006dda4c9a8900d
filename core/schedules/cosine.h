// SPDX-License-Identifier: Apache-2.0
//
// Cosine: half a cosine from 1, at the end of the warm-up, to `final_fraction`, after `total_steps`
// steps; then the rate stays there.
//
//   decay(t) = f + (1 - f) (1 + cos(pi min(u, n) / n)) / 2
//   u = t - p,  n = T + 1 - p,  p = max(warmup_steps, 1),  T = total_steps,  f = final_fraction
//
// Source: Loshchilov, Hutter, arXiv:1608.03983, equation 5, without restarts. PyTorch:
// CosineAnnealingLR.
#pragma once

#include <cstdint>
#include <tuple>

#include "core/base/field.h"
#include "core/schedules/decay_point.h"

namespace talweg::core {

struct CosineDecay {
  uint64_t total_steps = 1;   // from the first step on, warm-up included; then the rate stays
  double final_fraction = 0;  // of the rate that is left at the end
  static auto Fields() {
    return std::tuple{
        Field{"total_steps", &CosineDecay::total_steps, AtLeast(1), Change::kLive,
              Presence::kRequired},
        Field{"final_fraction", &CosineDecay::final_fraction, Closed(0, 1)},
    };
  }

  double At(DecayPoint point) const;
};

// (1 + cos(pi taken / total)) / 2 for taken <= total, total >= 1: exactly 1, 1/2 and 0 at the
// start, the middle and the end. The relative error is at most 1e-15 (measured: 7.5e-16; the
// absolute error 2.8e-16).
double HalfCosine(uint64_t taken, uint64_t total);

}  // namespace talweg::core
