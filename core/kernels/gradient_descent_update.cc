// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/gradient_descent_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/gradient_descent_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void GradientDescentKernel(float keep, float rate, Stores stores, size_t n, const float* gradient,
                           const float* from, float* to) {
  ForEachVector(n, CanStream(stores, to), [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto step = hn::Mul(hn::Set(d, rate), hn::LoadU(d, gradient + i));
    store(hn::Sub(hn::Mul(hn::Set(d, keep), hn::LoadU(d, from + i)), step), d, to + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(GradientDescentKernel);

void GradientDescentUpdate(float keep, float rate, Stores stores, absl::Span<const float> gradient,
                           absl::Span<const float> from, absl::Span<float> to) {
  HWY_DYNAMIC_DISPATCH(GradientDescentKernel)
  (keep, rate, stores, to.size(), gradient.data(), from.data(), to.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
