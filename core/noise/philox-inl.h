// SPDX-License-Identifier: Apache-2.0
//
// Philox4x32-10 over vectors, compiled once per target: one lane per block.
#if defined(TALWEG_CORE_NOISE_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TALWEG_CORE_NOISE_PHILOX_INL_H_
#undef TALWEG_CORE_NOISE_PHILOX_INL_H_
#else
#define TALWEG_CORE_NOISE_PHILOX_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "core/noise/philox.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that buffers on the stack have a size that is known.
using NumberTag = hn::CappedTag<float, 16>;
inline constexpr size_t kMaxNumberLanes = 16;

// The words of blocks `block`, block + 1, ...: lane i of w0 to w3 is word 0 to 3 of block + i.
//
// The rounds compute in lanes of 64 bits, of which the low half is a word and the high half is
// arbitrary: the product of two low halves needs no shuffle, and its low half serves as it stands.
// Blocks with even and with odd distance from the first are two such vectors until the end.
template <class D32, class V32 = hn::Vec<D32>>
HWY_INLINE void PhiloxOfBlocks(D32 d32, const PhiloxRoundKeys& keys, NoiseDomain domain,
                               uint64_t block, uint32_t x, uint32_t y, V32& w0, V32& w1, V32& w2,
                               V32& w3) {
  const hn::Repartition<uint64_t, D32> d64;
  const auto m0 = hn::BitCast(d32, hn::Set(d64, uint64_t{0xD2511F53}));
  const auto m1 = hn::BitCast(d32, hn::Set(d64, uint64_t{0xCD9E8D57}));
  const auto high = hn::Set(d64, uint64_t{static_cast<uint16_t>(domain)} << 16);
  // Of the even blocks c0 to c3, of the odd ones d0 to d3.
  auto c0 = hn::Add(hn::Set(d64, block), hn::ShiftLeft<1>(hn::Iota(d64, 0)));
  auto d0 = hn::Add(c0, hn::Set(d64, uint64_t{1}));
  auto c1 = hn::Or(hn::ShiftRight<32>(c0), high);
  auto d1 = hn::Or(hn::ShiftRight<32>(d0), high);
  auto c2 = hn::Set(d64, uint64_t{x});
  auto d2 = c2;
  auto c3 = hn::Set(d64, uint64_t{y});
  auto d3 = c3;
#pragma GCC unroll 10
  for (size_t round = 0; round < 10; ++round) {
    const auto k0 = hn::Set(d64, keys.k0[round]);
    const auto k1 = hn::Set(d64, keys.k1[round]);
    const auto c_product0 = hn::MulEven(hn::BitCast(d32, c0), m0);
    const auto d_product0 = hn::MulEven(hn::BitCast(d32, d0), m0);
    const auto c_product1 = hn::MulEven(hn::BitCast(d32, c2), m1);
    const auto d_product1 = hn::MulEven(hn::BitCast(d32, d2), m1);
    c0 = hn::Xor3(hn::ShiftRight<32>(c_product1), c1, k0);
    d0 = hn::Xor3(hn::ShiftRight<32>(d_product1), d1, k0);
    c1 = c_product1;
    d1 = d_product1;
    c2 = hn::Xor3(hn::ShiftRight<32>(c_product0), c3, k1);
    d2 = hn::Xor3(hn::ShiftRight<32>(d_product0), d3, k1);
    c3 = c_product0;
    d3 = d_product0;
  }
  const auto merge = [d32](auto even, auto odd) HWY_ATTR {
    return hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(odd)), hn::BitCast(d32, even));
  };
  w0 = merge(c0, d0);
  w1 = merge(c1, d1);
  w2 = merge(c2, d2);
  w3 = merge(c3, d3);
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#endif  // per target
