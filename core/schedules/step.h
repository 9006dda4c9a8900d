// SPDX-License-Identifier: Apache-2.0
//
// Step: the rate is multiplied by a factor after every period of `period_steps` steps. The first
// period begins with the step that has the whole rate, which ends the warm-up.
//
//   decay(t) = factor^floor(u / period_steps)
//   u = t - p,  p = max(warmup_steps, 1)
//
// PyTorch: StepLR.
#pragma once

#include <cstdint>
#include <tuple>

#include "core/base/field.h"
#include "core/schedules/decay_point.h"

namespace talweg::core {

struct StepDecay {
  uint64_t period_steps = 1;  // between two falls
  double factor = 0.1;        // at each fall
  static auto Fields() {
    return std::tuple{
        Field{"period_steps", &StepDecay::period_steps, AtLeast(1), Change::kLive,
              Presence::kRequired},
        Field{"factor", &StepDecay::factor, OpenClosed(0, 1)},
    };
  }

  // Takes O(log t).
  double At(DecayPoint point) const;
};

}  // namespace talweg::core
