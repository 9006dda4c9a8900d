// SPDX-License-Identifier: Apache-2.0
//
// What keeps a single finite gradient from stopping a parameter for good. An average of squares
// that has become infinite stays infinite, so that every later step is zero; and so does an
// infinite average of gradients. Therefore no update lets its slots become infinite:
//
//   g     An element beyond kLargestSquarable counts as that number with its sign, in every update
//         that squares g. Such a step is a quotient of g and the root of an average of g^2, so that
//         the step of a gradient is the step of that gradient made smaller; only v alone saturated,
//         beside an m that did not, would make steps of any length.
//   v, m  A number beyond the largest finite one becomes that one: sums may overflow still.
//
// A gradient whose squares and sums do not overflow gives the bits that it gives without all this.
// An infinity that a slot already has (from a state of an earlier version) becomes finite, too.
#pragma once

#include <limits>

namespace talweg::core {

// The largest float32 whose square is finite, 1.8446743e19.
inline constexpr float kLargestSquarable = 0x1.fffffep63f;
static_assert(kLargestSquarable * kLargestSquarable <= std::numeric_limits<float>::max());

}  // namespace talweg::core
