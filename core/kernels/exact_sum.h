// SPDX-License-Identifier: Apache-2.0
//
// A weighted sum of vectors whose bits do not depend on the order in which they come.
//
//   sum = Sum_i w_i x_i, exact             mean = float32(round(sum) / total_weight)
//
// A product of two float32 is exact in double, and lies between 2^-298 and 2^256 where it is not 0:
// nothing here under- or overflows. A term p is taken in by
//
//   (hi, e) <- TwoSum(hi, p)               (lo, r) <- TwoSum(lo, e)
//
// where TwoSum(a, b) is the rounded a + b and what the rounding has left out, a double itself. What
// two doubles cannot hold is the residue r. It is 0 unless terms of one element are further apart
// than 2^58 or so; where it is not, it goes to a list. So hi + lo + residues is the sum, always,
// and rounding it once gives the same bits for every order, every grouping into passes and every
// cut.
//
// Source: TwoSum of D. Knuth, The Art of Computer Programming 2, section 4.2.2. Kept: 16 bytes an
// element, and 16 a residue. A pass reads 4 bytes an element of each contribution, and moves
// hi and lo once.
//
// Elements are finite; the mean of one that is not is NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/kernels/weighted_vector.h"

namespace talweg::core {

// How many contributions a pass had better take: each is a stream of memory of its own.
inline constexpr size_t kMaxFold = 8;

struct Residue {
  uint64_t element = 0;
  double value = 0;
};

// hi + lo + residues <- (first ? 0 : hi + lo + residues) + Sum_i w_i x_i, in one pass. With `first`
// hi and lo are only written, and `residues` is cleared.
//
// Element k of the spans is called `first_element` + k in `residues`, which belong to these
// elements alone: each shard has its own, and shards may be folded at the same time. They are
// compacted where they exceed 4 an element, and so are at most 11 an element after any fold.
void FoldExact(absl::Span<const WeightedVector> contributions, bool first, absl::Span<double> hi,
               absl::Span<double> lo, size_t first_element, std::vector<Residue>& residues);

// mean <- the mean of what was folded and of `contributions`, in one pass. With `first` nothing was
// folded: hi and lo may be empty. `residues` in any order; those of other elements are passed over.
// `total_weight` is the sum of all weights. Nothing overlaps `mean`.
void CloseExact(absl::Span<const WeightedVector> contributions, bool first,
                absl::Span<const double> hi, absl::Span<const double> lo, size_t first_element,
                absl::Span<const Residue> residues, double total_weight, absl::Span<float> mean);

// Replaces the residues of each element by the fewest doubles of the same sum, at most 11, and
// sorts by element.
void CompactResidues(std::vector<Residue>& residues);

}  // namespace talweg::core
