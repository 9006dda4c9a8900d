// SPDX-License-Identifier: Apache-2.0
//
// Between sums in float32 and their totals in float64, compiled once per target.
#if defined(TALWEG_CORE_NOISE_TOTALS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TALWEG_CORE_NOISE_TOTALS_INL_H_
#undef TALWEG_CORE_NOISE_TOTALS_INL_H_
#else
#define TALWEG_CORE_NOISE_TOTALS_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// totals[i] += lane i of `sums`.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void AddToTotals([[maybe_unused]] D d, V sums, double* totals) {
#if HWY_TARGET == HWY_SCALAR
  totals[0] += static_cast<double>(hn::GetLane(sums));
#else
  const hn::Half<D> half;
  const hn::Repartition<double, D> dd;
  double* const upper = totals + hn::Lanes(dd);
  const auto low = hn::PromoteTo(dd, hn::LowerHalf(half, sums));
  const auto high = hn::PromoteTo(dd, hn::UpperHalf(half, sums));
  hn::StoreU(hn::Add(hn::LoadU(dd, totals), low), dd, totals);
  hn::StoreU(hn::Add(hn::LoadU(dd, upper), high), dd, upper);
#endif
}

// Lane i is float32(totals[i] * factor).
template <class D>
HWY_INLINE hn::Vec<D> ScaledTotals(D d, const double* totals, double factor) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<float>(totals[0] * factor));
#else
  const hn::Half<D> half;
  const hn::Repartition<double, D> dd;
  const auto by = hn::Set(dd, factor);
  const auto low = hn::DemoteTo(half, hn::Mul(hn::LoadU(dd, totals), by));
  const auto high = hn::DemoteTo(half, hn::Mul(hn::LoadU(dd, totals + hn::Lanes(dd)), by));
  return hn::Combine(d, high, low);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#endif  // per target
