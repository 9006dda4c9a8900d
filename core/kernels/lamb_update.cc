// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/lamb_update.h"

#include <cstddef>

// The accumulators are an array, which SVE's vectors of unknown size cannot be in; NEON stands in.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/lamb_update.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

// 16 sums in double: lane i takes the elements whose index is congruent to i modulo 16.
class Sums {
 public:
  static constexpr size_t kLanes = 16;
  using D = hn::CappedTag<float, kLanes>;
  static constexpr size_t kStride = hn::MaxLanes(D());

  HWY_INLINE Sums() {
    for (auto& sum : sums_) sum = hn::Zero(Wide());
  }

  // The k-th vector of 16 elements.
  template <class V>
  HWY_INLINE void Add(size_t k, V x) {
#if HWY_TARGET == HWY_SCALAR
    AddPart(k, x);
#else
    AddPart(2 * k, hn::LowerHalf(Part(), x));
    AddPart(2 * k + 1, hn::UpperHalf(Part(), x));
#endif
  }

  HWY_INLINE void Store(double* lanes) const {
    for (size_t k = 0; k < kParts; ++k) {
      hn::StoreU(sums_[k], Wide(), lanes + k * hn::MaxLanes(Wide()));
    }
  }

 private:
  using Part = hn::Half<D>;  // a scalar is its own half
  using Wide = hn::Rebind<double, Part>;
  static constexpr size_t kParts = kLanes / hn::MaxLanes(Wide());

  template <class V>
  HWY_INLINE void AddPart(size_t k, V x) {
    const auto wide = hn::PromoteTo(Wide(), x);
    sums_[k] = hn::Add(sums_[k], hn::Mul(wide, wide));
  }

  decltype(hn::Zero(Wide())) sums_[kParts];
};

HWY_INLINE double Total(double* lanes) {
  for (size_t half = Sums::kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

LambSums LambKernel(const LambCoefficients& c, Stores stores, size_t n, const float* gradient,
                    const float* from, float* to, float* m, float* v) {
  // Updates m and v at i and returns r.
  const auto direction = [=](auto d, size_t i, auto w) HWY_ATTR {
    const auto g = LoadSquarable(d, gradient + i);
    const auto new_m = hn::Add(hn::Mul(hn::Set(d, c.keep_m), hn::LoadU(d, m + i)),
                               hn::Mul(hn::Set(d, c.take_m), g));
    const auto new_v = FiniteSquare(d, hn::Add(hn::Mul(hn::Set(d, c.keep_v), hn::LoadU(d, v + i)),
                                               hn::Mul(hn::Mul(hn::Set(d, c.take_v), g), g)));
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(new_v, d, v + i);
    const auto divisor =
        hn::Add(hn::Mul(hn::Sqrt(new_v), hn::Set(d, c.root_scale)), hn::Set(d, c.epsilon));
    return hn::Add(hn::Div(hn::Mul(hn::Set(d, c.m_scale), new_m), divisor),
                   hn::Mul(hn::Set(d, c.decay), w));
  };
  const Sums::D d;
  const hn::CappedTag<float, 1> one;
  const bool streaming = CanStream(stores, to);
  Sums parameter_sums, direction_sums;
  size_t i = 0;
  for (; i + Sums::kLanes <= n; i += Sums::kLanes) {
    for (size_t k = 0; k < Sums::kLanes / Sums::kStride; ++k) {
      const size_t at = i + k * Sums::kStride;
      const auto w = hn::LoadU(d, from + at);
      const auto r = direction(d, at, w);
      parameter_sums.Add(k, w);
      direction_sums.Add(k, r);
      if (streaming) {
        hn::Stream(r, d, to + at);
      } else {
        hn::StoreU(r, d, to + at);
      }
    }
  }
  if (streaming) hwy::FlushStream();
  double parameter_lanes[Sums::kLanes];
  double direction_lanes[Sums::kLanes];
  parameter_sums.Store(parameter_lanes);
  direction_sums.Store(direction_lanes);
  for (size_t lane = 0; i < n; ++i, ++lane) {
    const auto r = direction(one, i, hn::LoadU(one, from + i));
    hn::StoreU(r, one, to + i);
    const double wide_w = from[i];
    const double wide_r = hn::GetLane(r);
    parameter_lanes[lane] += wide_w * wide_w;
    direction_lanes[lane] += wide_r * wide_r;
  }
  return {Total(parameter_lanes), Total(direction_lanes)};
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(LambKernel);

LambSums LambDirection(const LambCoefficients& coefficients, Stores stores,
                       absl::Span<const float> gradient, absl::Span<const float> from,
                       absl::Span<float> to, absl::Span<float> m, absl::Span<float> v) {
  return HWY_DYNAMIC_DISPATCH(LambKernel)(coefficients, stores, to.size(), gradient.data(),
                                          from.data(), to.data(), m.data(), v.data());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
