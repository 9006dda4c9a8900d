// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/lion_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/lion_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void LionKernel(const LionCoefficients& c, Stores stores, size_t n, const float* gradient,
                const float* from, float* to, float* m) {
  ForEachVector(n, CanStream(stores, to), [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = hn::LoadU(d, gradient + i);
    const auto old_m = hn::LoadU(d, m + i);
    const auto blend =
        hn::Add(hn::Mul(hn::Set(d, c.blend_m), old_m), hn::Mul(hn::Set(d, c.blend_g), g));
    const auto zero = hn::Zero(d);
    const auto down = hn::IfThenElse(hn::Lt(blend, zero), hn::Set(d, -c.rate), zero);
    const auto step = hn::IfThenElse(hn::Gt(blend, zero), hn::Set(d, c.rate), down);
    const auto new_m =
        Finite(d, hn::Add(hn::Mul(hn::Set(d, c.keep_m), old_m), hn::Mul(hn::Set(d, c.take_m), g)));
    hn::StoreU(new_m, d, m + i);
    store(hn::Sub(hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i)), step), d, to + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(LionKernel);

void LionUpdate(const LionCoefficients& coefficients, Stores stores,
                absl::Span<const float> gradient, absl::Span<const float> from,
                absl::Span<float> to, absl::Span<float> m) {
  HWY_DYNAMIC_DISPATCH(LionKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), m.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
