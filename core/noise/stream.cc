// SPDX-License-Identifier: Apache-2.0

// GCC does not reorder instructions ahead of register allocation on x86 unless told so. Then it
// mixes the chains of two vectors of normals, which wait for each other otherwise: 1.4 times the
// speed.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns", "sched-pressure")
#endif

#include "core/noise/stream.h"

#include <algorithm>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/noise/stream.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/noise/normal-inl.h"
#include "core/noise/rademacher-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

// Draws the normals of as many blocks as there are lanes, or of twice as many.
template <bool kTwice>
HWY_INLINE void DrawBatch(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t block,
                          float scale, float* to) {
  const NumberTag d;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  hn::Vec<NumberTag> n0, n1, n2, n3;
  NormalsOfBlocks(d, keys, stream.domain, block, stream.pair, stream.generation, n0, n1, n2, n3);
  if constexpr (kTwice) {
    // Side by side, because the operations of one vector wait for each other most of the time.
    hn::Vec<NumberTag> m0, m1, m2, m3;
    NormalsOfBlocks(d, keys, stream.domain, block + lanes, stream.pair, stream.generation, m0, m1,
                    m2, m3);
    hn::StoreInterleaved4(hn::Mul(factor, m0), hn::Mul(factor, m1), hn::Mul(factor, m2),
                          hn::Mul(factor, m3), d, to + 4 * lanes);
  }
  hn::StoreInterleaved4(hn::Mul(factor, n0), hn::Mul(factor, n1), hn::Mul(factor, n2),
                        hn::Mul(factor, n3), d, to);
}

void DrawNormals(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t first,
                 float scale, float* to, size_t size) {
  const size_t blocks = hn::Lanes(NumberTag());
  const size_t batch = 4 * blocks;
  uint64_t block = first / 4;
  size_t done = 0;
  // A batch that is cut goes through `cut`; all others are written in place.
  HWY_ALIGN float cut[4 * kMaxNumberLanes];
  const auto draw_cut = [&](size_t skip) HWY_ATTR {
    DrawBatch<false>(keys, stream, block, scale, cut);
    const size_t taken = std::min(size - done, batch - skip);
    std::copy_n(cut + skip, taken, to + done);
    done += taken;
    block += blocks;
  };
  if (const size_t skip = first % 4; skip != 0) draw_cut(skip);
  for (; size - done >= 2 * batch; done += 2 * batch, block += 2 * blocks) {
    DrawBatch<true>(keys, stream, block, scale, to + done);
  }
  while (done < size) draw_cut(0);
}

void DrawSigns(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t first, float scale,
               float* to, size_t size) {
  const NumberTag d;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  HWY_ALIGN uint32_t words[4 * kMaxNumberLanes];
  HWY_ALIGN float cut[32];
  const auto expand = [&](uint32_t word, float* at) HWY_ATTR {
    for (size_t bit = 0; bit < 32; bit += lanes) {
      hn::StoreU(WithSigns(d, factor, word, bit), d, at + bit);
    }
  };
  uint64_t block = first / 128;
  uint64_t number = block * 128;  // of bit 0 of the word at hand
  for (size_t done = 0; done < size; block += lanes) {
    StoreWordsOfBlocks(keys, stream.domain, block, stream.pair, stream.generation, words);
    for (size_t index = 0; index < 4 * lanes && done < size; ++index, number += 32) {
      if (number + 32 <= first) continue;
      if (number >= first && size - done >= 32) {
        expand(words[index], to + done);
        done += 32;
        continue;
      }
      expand(words[index], cut);
      const size_t skip = number < first ? first - number : 0;
      const size_t taken = std::min(size - done, 32 - skip);
      std::copy_n(cut + skip, taken, to + done);
      done += taken;
    }
  }
}

void AddChangeKernel(const float* from, const float* change, bool subtract, float* to,
                     size_t size) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto add = [=](auto tag, size_t i) HWY_ATTR {
    const auto old = hn::LoadU(tag, from + i);
    const auto by = hn::LoadU(tag, change + i);
    hn::StoreU(subtract ? hn::Sub(old, by) : hn::Add(old, by), tag, to + i);
  };
  size_t i = 0;
  for (; i + hn::Lanes(d) <= size; i += hn::Lanes(d)) add(d, i);
  for (; i < size; ++i) add(one, i);
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(DrawNormals);
HWY_EXPORT(DrawSigns);
HWY_EXPORT(AddChangeKernel);

void DrawNumbers(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t first,
                 float scale, std::span<float> to) {
  if (SchemeOf(stream.domain) == NoiseScheme::kNormal) {
    HWY_DYNAMIC_DISPATCH(DrawNormals)(keys, stream, first, scale, to.data(), to.size());
  } else {
    HWY_DYNAMIC_DISPATCH(DrawSigns)(keys, stream, first, scale, to.data(), to.size());
  }
}

void AddNumbers(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t first, float scale,
                bool subtract, std::span<const float> from, std::span<float> to) {
  constexpr size_t kTile = 2048;
  float change[kTile];  // 8 KiB: stays in the first cache
  for (size_t done = 0; done < to.size(); done += kTile) {
    const size_t size = std::min(kTile, to.size() - done);
    DrawNumbers(keys, stream, first + done, scale, {change, size});
    AddChange(from.subspan(done, size), {change, size}, subtract, to.subspan(done, size));
  }
}

void AddChange(std::span<const float> from, std::span<const float> change, bool subtract,
               std::span<float> to) {
  HWY_DYNAMIC_DISPATCH(AddChangeKernel)
  (from.data(), change.data(), subtract, to.data(), to.size());
}

}  // namespace talweg::core
#endif  // HWY_ONCE
