// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/squared_norm.h"

#include <cstddef>

// The accumulators are an array, which SVE's vectors of unknown size cannot be in; NEON stands in.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/squared_norm.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Sum of the squares of `element(d, i)`, elements [i, i + lanes of d) in double, over [0, n).
template <class Element>
HWY_INLINE double SumOfSquares(size_t n, const Element& element) {
  constexpr size_t kLanes = 16;
  const hn::CappedTag<double, 8> d;
  const hn::CappedTag<double, 1> one;
  constexpr size_t kStride = hn::MaxLanes(d);
  constexpr size_t kSums = kLanes / kStride;
  decltype(hn::Zero(d)) sums[kSums];
  for (auto& sum : sums) sum = hn::Zero(d);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t k = 0; k < kSums; ++k) {
      const auto x = element(d, i + k * kStride);
      sums[k] = hn::Add(sums[k], hn::Mul(x, x));
    }
  }
  double lanes[kLanes];
  for (size_t k = 0; k < kSums; ++k) hn::StoreU(sums[k], d, lanes + k * kStride);
  for (size_t lane = 0; i < n; ++i, ++lane) {
    const double x = hn::GetLane(element(one, i));
    lanes[lane] += x * x;
  }
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <class D>
HWY_INLINE auto LoadAsDouble(D d, const float* x) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
}

double SquaredNormKernel(size_t n, const float* x) {
  return SumOfSquares(n, [=](auto d, size_t i) HWY_ATTR { return LoadAsDouble(d, x + i); });
}

double SquaredDistanceKernel(size_t n, const float* a, const float* b) {
  return SumOfSquares(n, [=](auto d, size_t i) HWY_ATTR {
    return hn::Sub(LoadAsDouble(d, a + i), LoadAsDouble(d, b + i));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(SquaredNormKernel);
HWY_EXPORT(SquaredDistanceKernel);

double SquaredNorm(absl::Span<const float> x) {
  return HWY_DYNAMIC_DISPATCH(SquaredNormKernel)(x.size(), x.data());
}

double SquaredDistance(absl::Span<const float> a, absl::Span<const float> b) {
  return HWY_DYNAMIC_DISPATCH(SquaredDistanceKernel)(a.size(), a.data(), b.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
