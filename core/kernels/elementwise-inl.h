// SPDX-License-Identifier: Apache-2.0
//
// The loop of every elementwise kernel, compiled once per target.
#if defined(TALWEG_CORE_KERNELS_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TALWEG_CORE_KERNELS_ELEMENTWISE_INL_H_
#undef TALWEG_CORE_KERNELS_ELEMENTWISE_INL_H_
#else
#define TALWEG_CORE_KERNELS_ELEMENTWISE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/kernels/saturation.h"
#include "core/kernels/stores.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Stores past the caches need whole, aligned lines.
inline bool CanStream(Stores stores, const float* to) {
  return stores == Stores::kStreaming && reinterpret_cast<uintptr_t>(to) % 64 == 0;
}

// Limits x to magnitudes of at most `limit` (>= 0).
template <class D, class V>
HWY_INLINE V Limited(D d, V x, float limit) {
  return hn::Min(hn::Max(x, hn::Set(d, -limit)), hn::Set(d, limit));
}

// An infinity becomes the largest finite number with its sign.
template <class D, class V>
HWY_INLINE V Finite(D d, V x) {
  return Limited(d, x, std::numeric_limits<float>::max());
}

// The same for x >= 0.
template <class D, class V>
HWY_INLINE V FiniteSquare(D d, V x) {
  return hn::Min(x, hn::Set(d, std::numeric_limits<float>::max()));
}

// A gradient whose square is finite (core/kernels/saturation.h).
template <class D>
HWY_INLINE auto LoadSquarable(D d, const float* gradient) {
  return Limited(d, hn::LoadU(d, gradient), kLargestSquarable);
}

// Runs `at(d, i, store)` over i in [0, n): one vector at a time, and the tail element by element,
// by the same operations. `store(vector, d, pointer)` writes `to`; the kernel does the rest.
template <class At>
HWY_INLINE void ForEachVector(size_t n, bool streaming, const At& at) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto cached = [](auto value, auto tag, float* to) HWY_ATTR { hn::StoreU(value, tag, to); };
  const auto streamed = [](auto value, auto tag, float* to)
                            HWY_ATTR { hn::Stream(value, tag, to); };
  size_t i = 0;
  if (streaming) {
    for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) at(d, i, streamed);
    hwy::FlushStream();
  } else {
    for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) at(d, i, cached);
  }
  for (; i < n; ++i) at(one, i, cached);
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#endif  // per target
