// SPDX-License-Identifier: Apache-2.0
//
// x <- -x, in place: 8 bytes of traffic an element. Turns the sign of zeros, infinities and NaN
// too.
#pragma once

#include "absl/types/span.h"

namespace talweg::core {

void Negate(absl::Span<float> x);

}  // namespace talweg::core
