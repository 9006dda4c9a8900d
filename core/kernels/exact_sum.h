// SPDX-License-Identifier: Apache-2.0
//
// A weighted sum of vectors whose bits do not depend on the order in which they come.
//
//   sum = Sum_i w_i x_i, exact             mean = float32(round(sum) / total_weight)
//
// A product of two float32 is exact in double and, if it is not 0, lies between 2^-298 and 2^256:
// nothing here underflows or overflows. A term p is added by
//
//   (hi, e) <- TwoSum(hi, p)               (lo, r) <- TwoSum(lo, e)
//
// TwoSum(a, b) is the rounded a + b and what the rounding has left out, which is a double itself.
// What two doubles cannot hold is the residue r. It is 0 unless terms of one element are further
// apart than about 2^58; a residue that is not 0 goes to a list. So hi + lo + residues is always
// the sum, and rounding it once gives the same bits for every order, every grouping into passes and
// every cut.
//
// Source: TwoSum of D. Knuth, The Art of Computer Programming 2, section 4.2.2. Memory: 16 bytes
// per element, and 16 per residue. A pass reads 4 bytes per element of each contribution, and moves
// hi and lo once.
//
// Elements are finite; the mean of an element that is not finite is NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/kernels/weighted_vector.h"

namespace talweg::core {

// The most contributions that one pass should take: each is a stream of memory of its own.
inline constexpr size_t kMaxFold = 8;

struct Residue {
  uint64_t element = 0;
  double value = 0;
};

// hi + lo + residues <- (first ? 0 : hi + lo + residues) + Sum_i w_i x_i, in one pass. With `first`
// hi and lo are only written, and `residues` is cleared.
//
// Element k of the spans has the number `first_element` + k in `residues`, which belong to these
// elements alone: each shard has residues of its own, and shards may be folded at the same time.
// They are compacted when there are more than 4 per element, so that at most 11 per element are
// left after any fold.
void FoldExact(absl::Span<const WeightedVector> contributions, bool first, absl::Span<double> hi,
               absl::Span<double> lo, size_t first_element, std::vector<Residue>& residues);

// mean <- the mean of what was folded and of `contributions`, in one pass. With `first` nothing was
// folded, and hi and lo may be empty. `residues` may stand in any order; residues of other elements
// are ignored. `total_weight` is the sum of all weights. Nothing overlaps `mean`.
void CloseExact(absl::Span<const WeightedVector> contributions, bool first,
                absl::Span<const double> hi, absl::Span<const double> lo, size_t first_element,
                absl::Span<const Residue> residues, double total_weight, absl::Span<float> mean);

// Replaces the residues of each element by the fewest doubles that have the same sum, at most 11,
// and sorts them by element.
void CompactResidues(std::vector<Residue>& residues);

}  // namespace talweg::core
