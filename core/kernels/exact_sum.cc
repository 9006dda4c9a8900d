// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/exact_sum.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/kernels/expansion.h"

// The accumulators are members, which SVE's vectors of unknown size cannot be; NEON stands in.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/exact_sum.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

using D = hn::ScalableTag<double>;
using Vector = hn::Vec<D>;

// sum <- the rounded sum + x; returns what that leaves out.
HWY_INLINE Vector TwoSum(Vector& sum, Vector x) {
  const Vector a = sum;
  sum = hn::Add(a, x);
  const Vector b = hn::Sub(sum, a);
  return hn::Add(hn::Sub(a, hn::Sub(sum, b)), hn::Sub(x, b));
}

// A vector of sums, in registers.
struct Sum {
  Vector hi, lo;

  // Returns the residues.
  HWY_INLINE Vector Add(Vector weight, const float* x) {
    const hn::Rebind<float, D> narrow;
    const Vector product = hn::Mul(weight, hn::PromoteTo(D(), hn::LoadU(narrow, x)));
    return TwoSum(lo, TwoSum(hi, product));
  }
};

// The sums of the elements that are in registers at once. Spelled out: compilers keep an array in
// memory.
class Group {
 public:
  static constexpr size_t kStride = hn::MaxLanes(D());
  static constexpr size_t kElements = 4 * kStride;

  HWY_INLINE Group() : a_{Zero(), Zero()}, b_(a_), c_(a_), d_(a_) {}
  HWY_INLINE Group(const double* hi, const double* lo)
      : a_{At(hi, 0), At(lo, 0)},
        b_{At(hi, 1), At(lo, 1)},
        c_{At(hi, 2), At(lo, 2)},
        d_{At(hi, 3), At(lo, 3)} {}

  // False if a residue is left: then nothing of this group counts.
  HWY_INLINE bool Add(size_t num_contributions, const WeightedVector* contributions, size_t at) {
    const hn::RebindToUnsigned<D> as_bits;
    Vector residues = Zero();
    for (size_t i = 0; i < num_contributions; ++i) {
      const float* const x = contributions[i].values + at;
      const Vector weight = hn::Set(D(), static_cast<double>(contributions[i].weight));
      residues = hn::Or(residues, a_.Add(weight, x));
      residues = hn::Or(residues, b_.Add(weight, x + kStride));
      residues = hn::Or(residues, c_.Add(weight, x + 2 * kStride));
      residues = hn::Or(residues, d_.Add(weight, x + 3 * kStride));
    }
    const auto bits = hn::BitCast(as_bits, residues);
    return hn::AllTrue(as_bits, hn::Eq(bits, hn::Zero(as_bits)));
  }

  // Calls at(offset, sum) for each vector.
  template <class Each>
  HWY_INLINE void ForEach(const Each& each) const {
    each(0, a_);
    each(kStride, b_);
    each(2 * kStride, c_);
    each(3 * kStride, d_);
  }

 private:
  static HWY_INLINE Vector Zero() { return hn::Zero(D()); }
  static HWY_INLINE Vector At(const double* x, size_t k) { return hn::LoadU(D(), x + k * kStride); }

  Sum a_, b_, c_, d_;
};

// Both go over [begin, n) and return the element at which they have stopped: the start of the first
// group that has a residue, or of the rest that is less than a group.
size_t FoldKernel(size_t num_contributions, const WeightedVector* contributions, bool first,
                  size_t begin, size_t n, double* hi, double* lo) {
  const bool streaming = first && reinterpret_cast<uintptr_t>(hi + begin) % 64 == 0 &&
                         reinterpret_cast<uintptr_t>(lo + begin) % 64 == 0;
  size_t at = begin;
  for (; at + Group::kElements <= n; at += Group::kElements) {
    Group group = first ? Group() : Group(hi + at, lo + at);
    if (!group.Add(num_contributions, contributions, at)) break;
    if (streaming) {
      group.ForEach([=](size_t offset, const Sum& sum) HWY_ATTR {
        hn::Stream(sum.hi, D(), hi + at + offset);
        hn::Stream(sum.lo, D(), lo + at + offset);
      });
    } else {
      group.ForEach([=](size_t offset, const Sum& sum) HWY_ATTR {
        hn::StoreU(sum.hi, D(), hi + at + offset);
        hn::StoreU(sum.lo, D(), lo + at + offset);
      });
    }
  }
  if (streaming) hwy::FlushStream();
  return at;
}

size_t CloseKernel(size_t num_contributions, const WeightedVector* contributions, bool first,
                   size_t begin, size_t n, const double* hi, const double* lo, double total_weight,
                   float* mean) {
  size_t at = begin;
  for (; at + Group::kElements <= n; at += Group::kElements) {
    Group group = first ? Group() : Group(hi + at, lo + at);
    if (!group.Add(num_contributions, contributions, at)) break;
    group.ForEach([=](size_t offset, const Sum& sum) HWY_ATTR {
      const hn::Rebind<float, D> narrow;
      const Vector value = hn::Div(hn::Add(sum.hi, sum.lo), hn::Set(D(), total_weight));
      hn::StoreU(hn::DemoteTo(narrow, value), narrow, mean + at + offset);
    });
  }
  return at;
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(FoldKernel);
HWY_EXPORT(CloseKernel);

namespace {

constexpr size_t kStep = 32;         // elements done one by one if a kernel stops
constexpr size_t kMostResidues = 4;  // an element; above that they are compacted

double ScalarTwoSum(double& sum, double x) {
  const double a = sum;
  sum = a + x;
  const double b = sum - a;
  return (a - (sum - b)) + (x - b);
}

// Adds element `at` of the contributions and hands each residue to `take`. If an element is not
// finite, hi + lo is NaN, and residues say nothing more.
template <class Take>
void AddElement(absl::Span<const WeightedVector> contributions, size_t at, double& hi, double& lo,
                const Take& take) {
  for (const WeightedVector& contribution : contributions) {
    const double product = static_cast<double>(contribution.weight) * contribution.values[at];
    const double residue = ScalarTwoSum(lo, ScalarTwoSum(hi, product));
    if (residue != 0 && !std::isnan(residue)) take(residue);
  }
}

void Sort(std::vector<Residue>& residues) {
  const auto earlier = [](const Residue& a, const Residue& b) { return a.element < b.element; };
  // A single pass leaves them so.
  if (std::is_sorted(residues.begin(), residues.end(), earlier)) return;
  std::sort(residues.begin(), residues.end(), earlier);
}

}  // namespace

void FoldExact(absl::Span<const WeightedVector> contributions, bool first, absl::Span<double> hi,
               absl::Span<double> lo, size_t first_element, std::vector<Residue>& residues) {
  const size_t n = hi.size();
  if (first) residues.clear();
  size_t at = 0;
  while (true) {
    at = HWY_DYNAMIC_DISPATCH(FoldKernel)(contributions.size(), contributions.data(), first, at, n,
                                          hi.data(), lo.data());
    if (at == n) break;
    for (const size_t end = std::min(at + kStep, n); at < end; ++at) {
      if (first) hi[at] = lo[at] = 0;
      AddElement(contributions, at, hi[at], lo[at], [&](double residue) {
        residues.push_back({first_element + at, residue});
      });
    }
  }
  if (residues.size() > kMostResidues * n) CompactResidues(residues);
}

void CloseExact(absl::Span<const WeightedVector> contributions, bool first,
                absl::Span<const double> hi, absl::Span<const double> lo, size_t first_element,
                absl::Span<const Residue> residues, double total_weight, absl::Span<float> mean) {
  const size_t n = mean.size();
  std::vector<double> terms;  // beside hi and lo of an element
  const auto close = [&](size_t at) {
    double high = first ? 0 : hi[at];
    double low = first ? 0 : lo[at];
    AddElement(contributions, at, high, low, [&](double residue) { terms.push_back(residue); });
    double sum = high + low;
    if (!terms.empty()) {
      terms.insert(terms.end(), {high, low});
      sum = RoundExact(terms);
      terms.clear();
    }
    mean[at] = static_cast<float>(sum / total_weight);
  };
  size_t at = 0;
  while (true) {
    at = HWY_DYNAMIC_DISPATCH(CloseKernel)(contributions.size(), contributions.data(), first, at, n,
                                           hi.data(), lo.data(), total_weight, mean.data());
    if (at == n) break;
    for (const size_t end = std::min(at + kStep, n); at < end; ++at) close(at);
  }
  // Elements that have residues from before are closed once more, with them.
  std::vector<Residue> sorted;
  for (const Residue& residue : residues) {
    if (residue.element >= first_element && residue.element - first_element < n) {
      sorted.push_back(residue);
    }
  }
  Sort(sorted);
  for (size_t i = 0; i < sorted.size();) {
    const uint64_t element = sorted[i].element;
    for (; i < sorted.size() && sorted[i].element == element; ++i) {
      terms.push_back(sorted[i].value);
    }
    close(element - first_element);
  }
}

void CompactResidues(std::vector<Residue>& residues) {
  Sort(residues);
  std::vector<Residue> compacted;
  for (size_t i = 0; i < residues.size();) {
    const uint64_t element = residues[i].element;
    ExactSum sum;
    for (; i < residues.size() && residues[i].element == element; ++i) sum.Add(residues[i].value);
    for (double part = sum.Value(); part != 0; part = sum.Value()) {
      compacted.push_back({element, part});
      sum.Add(-part);
    }
  }
  residues = std::move(compacted);
}

}  // namespace talweg::core
#endif  // HWY_ONCE
