// SPDX-License-Identifier: Apache-2.0
//
// The normals of normal.h over vectors, compiled once per target: the operations of normal.cc, one
// by one and in their order, so that every lane has the bits of NormalsFromWords.
#if defined(TALWEG_CORE_NOISE_NORMAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TALWEG_CORE_NOISE_NORMAL_INL_H_
#undef TALWEG_CORE_NOISE_NORMAL_INL_H_
#else
#define TALWEG_CORE_NOISE_NORMAL_INL_H_
#endif

#include <cstdint>

#include "core/noise/philox-inl.h"
#include "core/noise/philox.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// log(k 2^-31) for whole numbers k in [1, 2^31].
template <class D, class V>
HWY_INLINE V LogOfShares(D d, V k) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  constexpr uint32_t kSqrtHalf = 0x3f3504f3;
  constexpr uint32_t kOne = 0x3f800000;
  const auto bits = hn::Add(hn::BitCast(du, k), hn::Set(du, kOne - kSqrtHalf));
  const auto m = hn::BitCast(
      d, hn::Add(hn::And(bits, hn::Set(du, uint32_t{0x007fffff})), hn::Set(du, kSqrtHalf)));
  const auto e = hn::ConvertTo(
      d, hn::Sub(hn::BitCast(di, hn::ShiftRight<23>(bits)), hn::Set(di, int32_t{127 + 31})));

  const auto f = hn::Sub(m, hn::Set(d, 1.0f));
  const auto square = hn::Mul(f, f);
  auto p = hn::Set(d, 7.0376836292e-2f);
  p = hn::Sub(hn::Mul(p, f), hn::Set(d, 1.1514610310e-1f));
  p = hn::Add(hn::Mul(p, f), hn::Set(d, 1.1676998740e-1f));
  p = hn::Sub(hn::Mul(p, f), hn::Set(d, 1.2420140846e-1f));
  p = hn::Add(hn::Mul(p, f), hn::Set(d, 1.4249322787e-1f));
  p = hn::Sub(hn::Mul(p, f), hn::Set(d, 1.6668057665e-1f));
  p = hn::Add(hn::Mul(p, f), hn::Set(d, 2.0000714765e-1f));
  p = hn::Sub(hn::Mul(p, f), hn::Set(d, 2.4999993993e-1f));
  p = hn::Add(hn::Mul(p, f), hn::Set(d, 3.3333331174e-1f));
  auto rest = hn::Mul(hn::Mul(p, f), square);
  rest = hn::Sub(rest, hn::Mul(e, hn::Set(d, 2.12194440e-4f)));
  rest = hn::Sub(rest, hn::Mul(hn::Set(d, 0.5f), square));
  return hn::Add(hn::Add(f, rest), hn::Mul(e, hn::Set(d, 0.693359375f)));
}

// Two normals of words a and b.
template <class D, class V = hn::Vec<D>, class VU = hn::Vec<hn::RebindToUnsigned<D>>>
HWY_INLINE void BoxMullers(D d, VU a, VU b, V& n0, V& n1) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto odd = hn::Or(hn::ShiftRight<1>(a), hn::Set(du, uint32_t{1}));
  const auto k = hn::ConvertTo(d, hn::BitCast(di, odd));
  const auto radius = hn::Sqrt(hn::Mul(hn::Set(d, -2.0f), LogOfShares(d, k)));

  // The quadrant is in bits 30 and 31.
  const auto turn = hn::Add(b, hn::Set(du, uint32_t{0x20000000}));
  const auto left = hn::Or(hn::ShiftLeft<2>(b), hn::Set(du, uint32_t{2}));
  const auto y = hn::Mul(hn::ConvertTo(d, hn::BitCast(di, left)), hn::Set(d, 0x1.921fb6p-32f));
  const auto square = hn::Mul(y, y);
  auto s = hn::Set(d, -1.9515295891e-4f);
  s = hn::Add(hn::Mul(s, square), hn::Set(d, 8.3321608736e-3f));
  s = hn::Sub(hn::Mul(s, square), hn::Set(d, 1.6666654611e-1f));
  const auto sine = hn::Add(hn::Mul(hn::Mul(s, square), y), y);
  auto c = hn::Set(d, 2.443315711809948e-5f);
  c = hn::Sub(hn::Mul(c, square), hn::Set(d, 1.388731625493765e-3f));
  c = hn::Add(hn::Mul(c, square), hn::Set(d, 4.166664568298827e-2f));
  c = hn::Sub(hn::Mul(c, square), hn::Set(d, 0.5f));
  const auto cosine = hn::Add(hn::Mul(c, square), hn::Set(d, 1.0f));

  const auto quarter = hn::Set(du, uint32_t{0x40000000});
  const auto swap = hn::RebindMask(d, hn::TestBit(turn, quarter));
  const auto turned_cosine = hn::IfThenElse(swap, sine, cosine);
  const auto turned_sine = hn::IfThenElse(swap, cosine, sine);
  const auto sign = hn::Set(du, uint32_t{0x80000000});
  const auto cosine_sign = hn::BitCast(d, hn::And(hn::Add(turn, quarter), sign));
  const auto sine_sign = hn::BitCast(d, hn::And(turn, sign));
  n0 = hn::Mul(radius, hn::Xor(turned_cosine, cosine_sign));
  n1 = hn::Mul(radius, hn::Xor(turned_sine, sine_sign));
}

// The normals of blocks `block`, block + 1, ...: lane i of n0 to n3 is normal 0 to 3 of block + i.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void NormalsOfBlocks(D d, const PhiloxRoundKeys& keys, NoiseDomain domain,
                                uint64_t block, uint32_t x, uint32_t y, V& n0, V& n1, V& n2,
                                V& n3) {
  const hn::RebindToUnsigned<D> du;
  hn::Vec<decltype(du)> w0, w1, w2, w3;
  PhiloxOfBlocks(du, keys, domain, block, x, y, w0, w1, w2, w3);
  BoxMullers(d, w0, w1, n0, n1);
  BoxMullers(d, w2, w3, n2, n3);
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#endif  // per target
