// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/nesterov_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/nesterov_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void NesterovKernel(const NesterovCoefficients& c, Stores stores, size_t n, const float* gradient,
                    const float* from, float* to, float* m) {
  ForEachVector(n, CanStream(stores, to), [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = hn::LoadU(d, gradient + i);
    const auto new_m = Finite(d, hn::Add(hn::Mul(hn::Set(d, c.keep_m), hn::LoadU(d, m + i)),
                                         hn::Mul(hn::Set(d, c.take), g)));
    hn::StoreU(new_m, d, m + i);
    const auto step =
        hn::Add(hn::Mul(hn::Set(d, c.step_m), new_m), hn::Mul(hn::Set(d, c.step_g), g));
    const auto kept = hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i));
    store(hn::Add(kept, hn::Mul(hn::Set(d, c.move), step)), d, to + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(NesterovKernel);

void NesterovUpdate(const NesterovCoefficients& coefficients, Stores stores,
                    absl::Span<const float> gradient, absl::Span<const float> from,
                    absl::Span<float> to, absl::Span<float> m) {
  HWY_DYNAMIC_DISPATCH(NesterovKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), m.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
