// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/average_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/average_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void AverageKernel(float take, size_t n, const float* w, float* average, float* low) {
  ForEachVector(n, /*streaming=*/false, [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto old = hn::LoadU(d, average + i);
    const auto old_low = hn::LoadU(d, low + i);
    const auto distance = Finite(d, hn::Sub(hn::Sub(hn::LoadU(d, w + i), old), old_low));
    const auto step = hn::Add(old_low, hn::Mul(hn::Set(d, take), distance));
    // Knuth's sum of two numbers, with what its rounding leaves; either may be the larger.
    const auto sum = hn::Add(old, step);
    const auto step_there = hn::Sub(sum, old);
    const auto old_there = hn::Sub(sum, step_there);
    hn::StoreU(hn::Add(hn::Sub(old, old_there), hn::Sub(step, step_there)), d, low + i);
    store(sum, d, average + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(AverageKernel);

void AverageUpdate(float take, absl::Span<const float> w, absl::Span<float> average,
                   absl::Span<float> low) {
  HWY_DYNAMIC_DISPATCH(AverageKernel)(take, w.size(), w.data(), average.data(), low.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
