// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/negate.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/negate.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void NegateKernel(size_t n, float* x) {
  ForEachVector(n, /*streaming=*/false, [=](auto d, size_t i, auto store) HWY_ATTR {
    store(hn::Neg(hn::LoadU(d, x + i)), d, x + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(NegateKernel);

void Negate(absl::Span<float> x) { HWY_DYNAMIC_DISPATCH(NegateKernel)(x.size(), x.data()); }

}  // namespace talweg::core
#endif  // HWY_ONCE
