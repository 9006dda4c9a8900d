// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/adam_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/adam_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

template <bool kWithMax>
HWY_INLINE void AdamLoop(const AdamCoefficients& c, bool streaming, size_t n, const float* gradient,
                         const float* from, float* to, float* m, float* v, float* v_max) {
  ForEachVector(n, streaming, [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = LoadSquarable(d, gradient + i);
    const auto new_m = hn::Add(hn::Mul(hn::Set(d, c.keep_m), hn::LoadU(d, m + i)),
                               hn::Mul(hn::Set(d, c.take_m), g));
    const auto new_v = FiniteSquare(d, hn::Add(hn::Mul(hn::Set(d, c.keep_v), hn::LoadU(d, v + i)),
                                               hn::Mul(hn::Mul(hn::Set(d, c.take_v), g), g)));
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(new_v, d, v + i);
    auto divisor = new_v;
    if constexpr (kWithMax) {
      const auto old_max = hn::LoadU(d, v_max + i);
      // Not hn::Max, which treats NaN as each machine likes.
      divisor = hn::IfThenElse(hn::Gt(new_v, old_max), new_v, old_max);
      hn::StoreU(divisor, d, v_max + i);
    }
    divisor = hn::Add(hn::Mul(hn::Sqrt(divisor), hn::Set(d, c.root_scale)), hn::Set(d, c.epsilon));
    const auto step = hn::Div(hn::Mul(hn::Set(d, c.rate), new_m), divisor);
    store(hn::Sub(hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i)), step), d, to + i);
  });
}

void AdamKernel(const AdamCoefficients& c, Stores stores, size_t n, const float* gradient,
                const float* from, float* to, float* m, float* v, float* v_max) {
  const bool streaming = CanStream(stores, to);
  if (v_max == nullptr) {
    AdamLoop<false>(c, streaming, n, gradient, from, to, m, v, v_max);
  } else {
    AdamLoop<true>(c, streaming, n, gradient, from, to, m, v, v_max);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(AdamKernel);

void AdamUpdate(const AdamCoefficients& coefficients, Stores stores,
                absl::Span<const float> gradient, absl::Span<const float> from,
                absl::Span<float> to, absl::Span<float> m, absl::Span<float> v,
                absl::Span<float> v_max) {
  HWY_DYNAMIC_DISPATCH(AdamKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), m.data(), v.data(),
   v_max.empty() ? nullptr : v_max.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
