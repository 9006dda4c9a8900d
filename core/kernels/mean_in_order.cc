// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/mean_in_order.h"

#include <algorithm>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/mean_in_order.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

// Calls at(d, i) over [0, n): a vector of doubles at a time, the tail element by element.
template <class At>
HWY_INLINE void ForEachWide(size_t n, const At& at) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> one;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) at(d, i);
  for (; i < n; ++i) at(one, i);
}

void MeanKernel(size_t num_contributions, const WeightedVector* contributions, double total_weight,
                size_t n, float* mean) {
  constexpr size_t kSums = 256;
  HWY_ALIGN double sums[kSums];
  double* const sum = sums;
  for (size_t begin = 0; begin < n; begin += kSums) {
    const size_t size = std::min(kSums, n - begin);
    std::fill(sums, sums + size, 0.0);
    for (size_t k = 0; k < num_contributions; ++k) {
      const float* const x = contributions[k].values + begin;
      const auto weight = static_cast<double>(contributions[k].weight);
      ForEachWide(size, [=](auto d, size_t i) HWY_ATTR {
        const hn::Rebind<float, decltype(d)> narrow;
        const auto wide = hn::PromoteTo(d, hn::LoadU(narrow, x + i));
        const auto product = hn::Mul(hn::Set(d, weight), wide);
        hn::StoreU(hn::Add(hn::LoadU(d, sum + i), product), d, sum + i);
      });
    }
    float* const to = mean + begin;
    ForEachWide(size, [=](auto d, size_t i) HWY_ATTR {
      const hn::Rebind<float, decltype(d)> narrow;
      const auto value = hn::Div(hn::LoadU(d, sum + i), hn::Set(d, total_weight));
      hn::StoreU(hn::DemoteTo(narrow, value), narrow, to + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(MeanKernel);

void MeanInOrder(absl::Span<const WeightedVector> contributions, double total_weight,
                 absl::Span<float> mean) {
  HWY_DYNAMIC_DISPATCH(MeanKernel)
  (contributions.size(), contributions.data(), total_weight, mean.size(), mean.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
