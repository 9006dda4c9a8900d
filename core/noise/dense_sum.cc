// SPDX-License-Identifier: Apache-2.0

// GCC does not reorder instructions ahead of register allocation on x86 unless told so. Then it
// mixes the chains of two vectors of normals, which wait for each other otherwise: 1.4 times the
// speed.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns", "sched-pressure")
#endif

#include "core/noise/dense_sum.h"

#include <algorithm>
#include <cstddef>

#include "core/noise/stream.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/noise/dense_sum.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/noise/normal-inl.h"
#include "core/noise/rademacher-inl.h"
#include "core/noise/totals-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

void SumNormals(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
                std::span<const PairWeight> weights, double factor, uint64_t first, float* to,
                size_t size) {
  const NumberTag d;
  const size_t lanes = hn::Lanes(d);
  const size_t batch = 4 * lanes;
  HWY_ALIGN double totals[4 * kMaxNumberLanes];
  HWY_ALIGN float cut[4 * kMaxNumberLanes];
  size_t skip = first % 4;
  uint64_t block = first / 4;
  for (size_t done = 0; done < size; block += lanes) {
    // Lane i of sum k belongs to normal k of block + i. The order changes only at the end.
    std::fill_n(totals, batch, 0.0);
    ForEachRun(weights, [&](std::span<const PairWeight> run) HWY_ATTR {
      auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
      // Two pairs side by side, because the operations of one wait for each other most of the time.
      // An odd run ends with a pair of weight 0: sums may turn from -0 to 0, which totals hide.
      for (size_t i = 0; i < run.size(); i += 2) {
        const PairWeight& first_pair = run[i];
        const PairWeight second_pair =
            i + 1 < run.size() ? run[i + 1] : PairWeight{first_pair.pair, 0};
        hn::Vec<NumberTag> n0, n1, n2, n3, m0, m1, m2, m3;
        NormalsOfBlocks(d, keys, domain, block, first_pair.pair, generation, n0, n1, n2, n3);
        NormalsOfBlocks(d, keys, domain, block, second_pair.pair, generation, m0, m1, m2, m3);
        const auto w = hn::Set(d, first_pair.weight);
        const auto v = hn::Set(d, second_pair.weight);
        s0 = hn::Add(hn::Add(s0, hn::Mul(w, n0)), hn::Mul(v, m0));
        s1 = hn::Add(hn::Add(s1, hn::Mul(w, n1)), hn::Mul(v, m1));
        s2 = hn::Add(hn::Add(s2, hn::Mul(w, n2)), hn::Mul(v, m2));
        s3 = hn::Add(hn::Add(s3, hn::Mul(w, n3)), hn::Mul(v, m3));
      }
      AddToTotals(d, s0, totals);
      AddToTotals(d, s1, totals + lanes);
      AddToTotals(d, s2, totals + 2 * lanes);
      AddToTotals(d, s3, totals + 3 * lanes);
    });
    const size_t taken = std::min(size - done, batch - skip);
    float* const at = taken == batch ? to + done : cut;
    hn::StoreInterleaved4(ScaledTotals(d, totals, factor), ScaledTotals(d, totals + lanes, factor),
                          ScaledTotals(d, totals + 2 * lanes, factor),
                          ScaledTotals(d, totals + 3 * lanes, factor), d, at);
    if (at == cut) std::copy_n(cut + skip, taken, to + done);
    done += taken;
    skip = 0;
  }
}

void SumSigns(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
              std::span<const PairWeight> weights, double factor, uint64_t first, float* to,
              size_t size) {
  const NumberTag d;
  const hn::RebindToUnsigned<NumberTag> du;
  const size_t lanes = hn::Lanes(d);
  HWY_ALIGN uint32_t words[kPairsPerRun][4 * kMaxNumberLanes];
  HWY_ALIGN double totals[128 * kMaxNumberLanes];
  HWY_ALIGN float out[4 * kMaxNumberLanes];
  size_t skip = first % 128;
  uint64_t block = first / 128;
  const auto sign = hn::Set(du, uint32_t{0x80000000});
  const auto top = hn::Sub(hn::Set(du, uint32_t{31}), hn::Iota(du, 0));
  for (size_t done = 0; done < size; block += lanes) {
    const size_t taken = std::min(size - done, 128 * lanes - skip);
    // Four vectors at a time, so that their sums go on side by side.
    const size_t begin = skip / (4 * lanes) * (4 * lanes);
    std::fill_n(totals, 128 * lanes, 0.0);
    ForEachRun(weights, [&](std::span<const PairWeight> run) HWY_ATTR {
      for (size_t i = 0; i < run.size(); ++i) {
        StoreWordsOfBlocks(keys, domain, block, run[i].pair, generation, words[i]);
      }
      for (size_t bit = begin; bit < skip + taken; bit += 4 * lanes) {
        const size_t b0 = bit, b1 = bit + lanes, b2 = bit + 2 * lanes, b3 = bit + 3 * lanes;
        const auto places = [&](size_t b) HWY_ATTR {
          return hn::Sub(top, hn::Set(du, static_cast<uint32_t>(b % 32)));
        };
        const auto p0 = places(b0), p1 = places(b1), p2 = places(b2), p3 = places(b3);
        auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
        for (size_t i = 0; i < run.size(); ++i) {
          const auto w = hn::Set(d, run[i].weight);
          const auto signed_weight = [&](size_t b, auto place) HWY_ATTR {
            const auto word = hn::Set(du, words[i][b / 32]);
            return hn::Xor(w, hn::BitCast(d, hn::And(hn::Shl(word, place), sign)));
          };
          s0 = hn::Add(s0, signed_weight(b0, p0));
          s1 = hn::Add(s1, signed_weight(b1, p1));
          s2 = hn::Add(s2, signed_weight(b2, p2));
          s3 = hn::Add(s3, signed_weight(b3, p3));
        }
        AddToTotals(d, s0, totals + b0);
        AddToTotals(d, s1, totals + b1);
        AddToTotals(d, s2, totals + b2);
        AddToTotals(d, s3, totals + b3);
      }
    });
    for (size_t bit = begin; bit < skip + taken; bit += lanes) {
      const size_t from = std::max(bit, skip), end = std::min(bit + lanes, skip + taken);
      if (from >= end) continue;
      hn::StoreU(ScaledTotals(d, totals + bit, factor), d, out);
      std::copy_n(out + (from - bit), end - from, to + done + (from - skip));
    }
    done += taken;
    skip = 0;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(SumNormals);
HWY_EXPORT(SumSigns);

void SumDense(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
              std::span<const PairWeight> weights, double factor, uint64_t first,
              std::span<float> to) {
  if (SchemeOf(domain) == NoiseScheme::kNormal) {
    HWY_DYNAMIC_DISPATCH(SumNormals)
    (keys, domain, generation, weights, factor, first, to.data(), to.size());
  } else {
    HWY_DYNAMIC_DISPATCH(SumSigns)
    (keys, domain, generation, weights, factor, first, to.data(), to.size());
  }
}

}  // namespace talweg::core
#endif  // HWY_ONCE
