// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/step.h"

#include "core/schedules/power.h"

namespace talweg::core {

double StepDecay::At(uint64_t step) const { return WholePower(factor, (step - 1) / period_steps); }

}  // namespace talweg::core
