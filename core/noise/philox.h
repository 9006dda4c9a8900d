// SPDX-License-Identifier: Apache-2.0
//
// Philox4x32-10: four random words as a pure function of a counter and a key.
//
//   ten rounds of  c0, c1, c2, c3 <- hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)
//   before each round except the first  k0 += 0x9E3779B9, k1 += 0xBB67AE85  (modulo 2^32)
//   M0 = 0xD2511F53, M1 = 0xCD9E8D57; hi and lo are the halves of the 64-bit product
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. There
// is no state: every word of every stream costs the same, so any thread may draw any part.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace talweg::core {

using PhiloxWords = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

PhiloxWords Philox(PhiloxWords counter, PhiloxKey key);

// What a draw is for. Draws of two domains under one seed never share a counter. The domains of
// perturbations use x for the pair and y for the generation.
enum class NoiseDomain : uint16_t {
  kDenseNormal = 0,
  kInitialValues = 1,
  kLowRankNormal = 2,
  kDenseRademacher = 3,
  kLowRankRademacher = 4,
  kDataSeed = 5,
};

// Low word first.
constexpr PhiloxKey KeyOfSeed(uint64_t seed) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
}

// Counter of block `block` (< 2^48): (block's low 32 bits, domain << 16 | block's high 16 bits, x,
// y).
constexpr PhiloxWords CounterOf(NoiseDomain domain, uint64_t block, uint32_t x = 0,
                                uint32_t y = 0) {
  return {static_cast<uint32_t>(block),
          static_cast<uint32_t>(domain) << 16 | static_cast<uint32_t>(block >> 32), x, y};
}

// k0 and k1 of each round. A key is computed with once and then serves any number of blocks.
struct PhiloxRoundKeys {
  explicit constexpr PhiloxRoundKeys(PhiloxKey key) {
    for (size_t round = 0; round < 10; ++round) {
      k0[round] = key[0];
      k1[round] = key[1];
      key[0] += 0x9E3779B9;
      key[1] += 0xBB67AE85;
    }
  }
  // 64 bits wide, because the vector code computes in lanes of 64 bits. The high halves are zero.
  std::array<uint64_t, 10> k0 = {};
  std::array<uint64_t, 10> k1 = {};
};

}  // namespace talweg::core
