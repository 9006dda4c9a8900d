// SPDX-License-Identifier: Apache-2.0
//
// Polynomial: a power of the share of steps that remain, from 1 at the end of the warm-up to
// `final_fraction` after `total_steps` steps; then the rate stays there.
//
//   decay(t) = f + (1 - f) (1 - min(u, n) / n)^power
//   u = t - p,  n = T + 1 - p,  p = max(warmup_steps, 1),  T = total_steps,  f = final_fraction
//
// PyTorch: PolynomialLR (f = 0).
#pragma once

#include <cstdint>
#include <tuple>

#include "core/base/field.h"
#include "core/schedules/decay_point.h"

namespace talweg::core {

struct PolynomialDecay {
  uint64_t total_steps = 1;   // from the first step on, warm-up included; then the rate stays
  uint64_t power = 1;         // 1: linear
  double final_fraction = 0;  // of the rate that is left at the end
  static auto Fields() {
    return std::tuple{
        Field{"total_steps", &PolynomialDecay::total_steps, AtLeast(1), Change::kLive,
              Presence::kRequired},
        Field{"power", &PolynomialDecay::power, Closed(1, 16)},
        Field{"final_fraction", &PolynomialDecay::final_fraction, Closed(0, 1)},
    };
  }

  double At(DecayPoint point) const;
};

}  // namespace talweg::core
