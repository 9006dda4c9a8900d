// SPDX-License-Identifier: Apache-2.0
//
// The signs of rademacher.h over vectors, compiled once per target.
#if defined(TALWEG_CORE_NOISE_RADEMACHER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TALWEG_CORE_NOISE_RADEMACHER_INL_H_
#undef TALWEG_CORE_NOISE_RADEMACHER_INL_H_
#else
#define TALWEG_CORE_NOISE_RADEMACHER_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "core/noise/philox-inl.h"
#include "core/noise/philox.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Writes the words of blocks `block`, block + 1, ... in the order of the stream: 4 times as many as
// NumberTag has lanes. `words` is aligned.
HWY_INLINE void StoreWordsOfBlocks(const PhiloxRoundKeys& keys, NoiseDomain domain, uint64_t block,
                                   uint32_t x, uint32_t y, uint32_t* words) {
  const hn::RebindToUnsigned<NumberTag> du;
  hn::Vec<decltype(du)> w0, w1, w2, w3;
  PhiloxOfBlocks(du, keys, domain, block, x, y, w0, w1, w2, w3);
  hn::StoreInterleaved4(w0, w1, w2, w3, du, words);
}

// Lane i is `value` with the sign of bit `bit` + i of `word` (bit + lanes <= 32).
template <class D, class V>
HWY_INLINE V WithSigns(D d, V value, uint32_t word, size_t bit) {
  const hn::RebindToUnsigned<D> du;
  const auto places = hn::Sub(hn::Set(du, static_cast<uint32_t>(31 - bit)), hn::Iota(du, 0));
  const auto signs = hn::And(hn::Shl(hn::Set(du, word), places), hn::Set(du, uint32_t{0x80000000}));
  return hn::Xor(value, hn::BitCast(d, signs));
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#endif  // per target
