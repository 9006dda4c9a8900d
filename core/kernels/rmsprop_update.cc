// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/rmsprop_update.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/rmsprop_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

template <bool kCentered, bool kWithM>
HWY_INLINE void RmspropLoop(const RmspropCoefficients& c, bool streaming, size_t n,
                            const float* gradient, const float* from, float* to, float* v,
                            float* last, float* offset, float* m) {
  ForEachVector(n, streaming, [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = LoadSquarable(d, gradient + i);
    auto counted = g;
    float take = c.take_v;
    if constexpr (kCentered) {
      counted = hn::Add(hn::Sub(g, hn::LoadU(d, last + i)), hn::LoadU(d, offset + i));
      take = c.take_spread;
      hn::StoreU(hn::Mul(hn::Set(d, c.keep_v), counted), d, offset + i);
      hn::StoreU(g, d, last + i);
    }
    const auto new_v =
        FiniteSquare(d, hn::Add(hn::Mul(hn::Set(d, c.keep_v), hn::LoadU(d, v + i)),
                                hn::Mul(hn::Mul(hn::Set(d, take), counted), counted)));
    hn::StoreU(new_v, d, v + i);
    const auto divisor =
        hn::Add(hn::Sqrt(hn::Add(new_v, hn::Set(d, c.inside))), hn::Set(d, c.outside));
    auto step = hn::Div(hn::Mul(hn::Set(d, c.take), g), divisor);
    if constexpr (kWithM) {
      const auto new_m =
          Finite(d, hn::Add(hn::Mul(hn::Set(d, c.keep_m), hn::LoadU(d, m + i)), step));
      hn::StoreU(new_m, d, m + i);
      step = hn::Mul(hn::Set(d, c.move), new_m);
    }
    store(hn::Sub(hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i)), step), d, to + i);
  });
}

void RmspropKernel(const RmspropCoefficients& c, Stores stores, size_t n, const float* gradient,
                   const float* from, float* to, float* v, float* last, float* offset, float* m) {
  const bool streaming = CanStream(stores, to);
  if (last == nullptr && m == nullptr) {
    RmspropLoop<false, false>(c, streaming, n, gradient, from, to, v, last, offset, m);
  } else if (m == nullptr) {
    RmspropLoop<true, false>(c, streaming, n, gradient, from, to, v, last, offset, m);
  } else if (last == nullptr) {
    RmspropLoop<false, true>(c, streaming, n, gradient, from, to, v, last, offset, m);
  } else {
    RmspropLoop<true, true>(c, streaming, n, gradient, from, to, v, last, offset, m);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(RmspropKernel);

void RmspropUpdate(const RmspropCoefficients& coefficients, Stores stores,
                   absl::Span<const float> gradient, absl::Span<const float> from,
                   absl::Span<float> to, absl::Span<float> v, absl::Span<float> last,
                   absl::Span<float> offset, absl::Span<float> m) {
  HWY_DYNAMIC_DISPATCH(RmspropKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), v.data(),
   last.empty() ? nullptr : last.data(), offset.empty() ? nullptr : offset.data(),
   m.empty() ? nullptr : m.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
