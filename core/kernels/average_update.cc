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

void AverageKernel(float take, size_t n, const float* w, float* average) {
  ForEachVector(n, /*streaming=*/false, [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto old = hn::LoadU(d, average + i);
    const auto step = hn::Mul(hn::Set(d, take), hn::Sub(hn::LoadU(d, w + i), old));
    store(hn::Add(old, step), d, average + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(AverageKernel);

void AverageUpdate(float take, absl::Span<const float> w, absl::Span<float> average) {
  HWY_DYNAMIC_DISPATCH(AverageKernel)(take, w.size(), w.data(), average.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
