// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/nadam_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/nadam_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void NadamKernel(const NadamCoefficients& c, Stores stores, size_t n, const float* gradient,
                 const float* from, float* to, float* m, float* v) {
  ForEachVector(n, CanStream(stores, to), [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = LoadSquarable(d, gradient + i);
    const auto new_m = hn::Add(hn::Mul(hn::Set(d, c.keep_m), hn::LoadU(d, m + i)),
                               hn::Mul(hn::Set(d, c.take_m), g));
    const auto new_v = FiniteSquare(d, hn::Add(hn::Mul(hn::Set(d, c.keep_v), hn::LoadU(d, v + i)),
                                               hn::Mul(hn::Mul(hn::Set(d, c.take_v), g), g)));
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(new_v, d, v + i);
    const auto divisor =
        hn::Add(hn::Mul(hn::Sqrt(new_v), hn::Set(d, c.root_scale)), hn::Set(d, c.epsilon));
    // Two divisions and two roundings, as torch.optim has them; memory is slower than either.
    const auto by_g = hn::Div(hn::Mul(hn::Set(d, c.rate_g), g), divisor);
    const auto by_m = hn::Div(hn::Mul(hn::Set(d, c.rate_m), new_m), divisor);
    const auto kept = hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i));
    store(hn::Sub(hn::Sub(kept, by_g), by_m), d, to + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(NadamKernel);

void NadamUpdate(const NadamCoefficients& coefficients, Stores stores,
                 absl::Span<const float> gradient, absl::Span<const float> from,
                 absl::Span<float> to, absl::Span<float> m, absl::Span<float> v) {
  HWY_DYNAMIC_DISPATCH(NadamKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), m.data(), v.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
