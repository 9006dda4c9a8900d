// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/step.h"

#include "core/schedules/power.h"

namespace talweg::core {

double StepDecay::At(DecayPoint point) const {
  return WholePower(factor, point.SincePeak() / period_steps);
}

}  // namespace talweg::core
