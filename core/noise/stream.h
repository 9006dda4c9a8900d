// SPDX-License-Identifier: Apache-2.0
//
// Streams of float32 numbers, vectorised: any part of a stream, with the same bits however it is
// cut and on every machine.
//
//   normal domains      number i is normal i mod 4 of block i / 4         (normal.h)
//   Rademacher domains  number i is a sign, of block i / 128              (rademacher.h)
//
// A stream has 2^50 normals or 2^55 signs. All functions may be called from any thread.
#pragma once

#include <cstdint>
#include <span>

#include "core/noise/philox.h"

namespace talweg::core {

enum class NoiseScheme : uint8_t { kNormal, kRademacher };

// Which stream of a seed.
struct NoiseStream {
  NoiseDomain domain = NoiseDomain::kInitialValues;
  uint32_t pair = 0;
  uint32_t generation = 0;
};

// What the numbers of a domain are. The data seed is not made of numbers; its domain counts as
// normal.
constexpr NoiseScheme SchemeOf(NoiseDomain domain) {
  return domain == NoiseDomain::kDenseRademacher || domain == NoiseDomain::kLowRankRademacher
             ? NoiseScheme::kRademacher
             : NoiseScheme::kNormal;
}

// to[i] = scale * number first + i, rounded to float32. With scale 1 that is the number itself.
void DrawNumbers(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t first,
                 float scale, std::span<float> to);

// to[i] = from[i] + scale * number, or from[i] - scale * number if `subtract`; the product is
// rounded to float32 before the sum is. `from` has the size of `to`, and may be `to`.
void AddNumbers(const PhiloxRoundKeys& keys, const NoiseStream& stream, uint64_t first, float scale,
                bool subtract, std::span<const float> from, std::span<float> to);

// to[i] = from[i] + change[i], or from[i] - change[i]. `to` may be one of the others.
void AddChange(std::span<const float> from, std::span<const float> change, bool subtract,
               std::span<float> to);

}  // namespace talweg::core
