// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/subtract.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/subtract.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void SubtractKernel(Stores stores, size_t n, const float* a, const float* b, float* to) {
  ForEachVector(n, CanStream(stores, to), [=](auto d, size_t i, auto store) HWY_ATTR {
    store(hn::Sub(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, to + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(SubtractKernel);

void Subtract(Stores stores, absl::Span<const float> a, absl::Span<const float> b,
              absl::Span<float> to) {
  HWY_DYNAMIC_DISPATCH(SubtractKernel)(stores, to.size(), a.data(), b.data(), to.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
