// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/adagrad_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/adagrad_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void AdagradKernel(const AdagradCoefficients& c, Stores stores, size_t n, const float* gradient,
                   const float* from, float* to, float* v) {
  ForEachVector(n, CanStream(stores, to), [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = LoadSquarable(d, gradient + i);
    const auto new_v = FiniteSquare(d, hn::Add(hn::LoadU(d, v + i), hn::Mul(g, g)));
    hn::StoreU(new_v, d, v + i);
    const auto divisor =
        hn::Add(hn::Sqrt(hn::Add(new_v, hn::Set(d, c.inside))), hn::Set(d, c.outside));
    const auto step = hn::Div(hn::Mul(hn::Set(d, c.rate), g), divisor);
    store(hn::Sub(hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i)), step), d, to + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(AdagradKernel);

void AdagradUpdate(const AdagradCoefficients& coefficients, Stores stores,
                   absl::Span<const float> gradient, absl::Span<const float> from,
                   absl::Span<float> to, absl::Span<float> v) {
  HWY_DYNAMIC_DISPATCH(AdagradKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), v.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
