// SPDX-License-Identifier: Apache-2.0
//
// Makes float32 numbers of random words, with the same bits on every machine and in every language.
//
// Uniform: the top 24 bits of a word, times 2^-24.
//
// Normal, by Box-Muller: words a and b make two independent standard normals,
//
//   k = float((a >> 1) | 1)                       an odd whole number below 2^31, rounded
//   r = sqrt(-2 log(k 2^-31))                     0 to 6.56
//   q = (b + 2^29) >> 30 (modulo 4)               the nearest multiple of a quarter turn
//   y = float(signed(b << 2) | 2) (pi/2) 2^-32    what is left of the angle, within [-pi/4, pi/4]
//   r cos(q pi/2 + y), r sin(q pi/2 + y)          by swapping and negating cos y and sin y
//
// `| 1` and `| 2` put each number in the middle of its cell: log never sees 0 and neither angle nor
// radius leans to a side. Log, sine and cosine are the polynomials in normal.cc, written out in
// float32: they use only + - * / sqrt, each rounded to nearest even and never fused. Apart from an
// exact zero (k = 2^31: r = 0), no intermediate result is below 2^-94 in size, so no denormal mode
// can matter.
//
// The relative error against the exact value of these formulas is at most 4e-7 (measured: 2.9e-7,
// normal_test.cc).
//
// Source: Box, Muller 1958; polynomials: Cephes library (Moshier), logf.c and sinf.c.
#pragma once

#include <array>
#include <cstdint>

#include "core/noise/philox.h"

namespace talweg::core {

// No normal is larger than this in size: sqrt(62 log 2), rounded up.
inline constexpr float kLargestNormal = 6.5556f;

// In [0, 1), a multiple of 2^-24.
constexpr float UniformFromWord(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Words 0 and 1 make the first two normals (cosine, then sine); words 2 and 3 make the others.
std::array<float, 4> NormalsFromWords(const PhiloxWords& words);

}  // namespace talweg::core
