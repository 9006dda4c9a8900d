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

template <bool kWithMean, bool kWithM>
HWY_INLINE void RmspropLoop(const RmspropCoefficients& c, bool streaming, size_t n,
                            const float* gradient, const float* from, float* to, float* v,
                            float* mean, float* m) {
  ForEachVector(n, streaming, [=](auto d, size_t i, auto store) HWY_ATTR {
    const auto g = hn::LoadU(d, gradient + i);
    const auto weighted = hn::Mul(hn::Set(d, c.take_v), g);
    const auto new_v =
        hn::Add(hn::Mul(hn::Set(d, c.keep_v), hn::LoadU(d, v + i)), hn::Mul(weighted, g));
    hn::StoreU(new_v, d, v + i);
    auto spread = new_v;
    if constexpr (kWithMean) {
      const auto new_mean =
          hn::Add(hn::Mul(hn::Set(d, c.keep_v), hn::LoadU(d, mean + i)), weighted);
      hn::StoreU(new_mean, d, mean + i);
      spread = hn::Sub(new_v, hn::Mul(new_mean, new_mean));
      // Rounding may make it negative if the gradient hardly changes.
      spread = hn::IfThenElse(hn::Lt(spread, hn::Zero(d)), hn::Zero(d), spread);
    }
    const auto divisor =
        hn::Add(hn::Sqrt(hn::Add(spread, hn::Set(d, c.inside))), hn::Set(d, c.outside));
    auto step = hn::Div(hn::Mul(hn::Set(d, c.take), g), divisor);
    if constexpr (kWithM) {
      const auto new_m = hn::Add(hn::Mul(hn::Set(d, c.keep_m), hn::LoadU(d, m + i)), step);
      hn::StoreU(new_m, d, m + i);
      step = hn::Mul(hn::Set(d, c.move), new_m);
    }
    store(hn::Sub(hn::Mul(hn::Set(d, c.keep), hn::LoadU(d, from + i)), step), d, to + i);
  });
}

void RmspropKernel(const RmspropCoefficients& c, Stores stores, size_t n, const float* gradient,
                   const float* from, float* to, float* v, float* mean, float* m) {
  const bool streaming = CanStream(stores, to);
  if (mean == nullptr && m == nullptr) {
    RmspropLoop<false, false>(c, streaming, n, gradient, from, to, v, mean, m);
  } else if (m == nullptr) {
    RmspropLoop<true, false>(c, streaming, n, gradient, from, to, v, mean, m);
  } else if (mean == nullptr) {
    RmspropLoop<false, true>(c, streaming, n, gradient, from, to, v, mean, m);
  } else {
    RmspropLoop<true, true>(c, streaming, n, gradient, from, to, v, mean, m);
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
                   absl::Span<float> to, absl::Span<float> v, absl::Span<float> mean,
                   absl::Span<float> m) {
  HWY_DYNAMIC_DISPATCH(RmspropKernel)
  (coefficients, stores, to.size(), gradient.data(), from.data(), to.data(), v.data(),
   mean.empty() ? nullptr : mean.data(), m.empty() ? nullptr : m.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
