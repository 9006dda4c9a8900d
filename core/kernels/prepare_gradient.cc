// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/prepare_gradient.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/prepare_gradient.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

template <bool kWithDecay>
HWY_INLINE void PrepareLoop(const GradientPreparation& c, size_t n, const float* gradient,
                            const float* w, float* to) {
  ForEachVector(n, /*streaming=*/false, [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto scaled = hn::Mul(hn::Set(d, c.factor), hn::LoadU(d, gradient + i));
    auto ready = hn::Min(hn::Max(scaled, hn::Set(d, -c.max_value)), hn::Set(d, c.max_value));
    if constexpr (kWithDecay) {
      ready = Finite(d, hn::Add(ready, hn::Mul(hn::Set(d, c.decay), hn::LoadU(d, w + i))));
    }
    store(ready, d, to + i);
  });
}

void PrepareKernel(const GradientPreparation& c, size_t n, const float* gradient, const float* w,
                   float* to) {
  // Zero times a parameter that overflowed would be NaN.
  if (c.decay == 0) {
    PrepareLoop<false>(c, n, gradient, w, to);
  } else {
    PrepareLoop<true>(c, n, gradient, w, to);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(PrepareKernel);

void PrepareGradient(const GradientPreparation& preparation, absl::Span<const float> gradient,
                     absl::Span<const float> w, absl::Span<float> to) {
  HWY_DYNAMIC_DISPATCH(PrepareKernel)
  (preparation, to.size(), gradient.data(), w.data(), to.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
