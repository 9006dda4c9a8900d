// SPDX-License-Identifier: Apache-2.0
//
// Makes fair signs of random words: number i of a stream is bit i mod 32 (bit 0 is the lowest) of
// word (i / 32) mod 4 of block i / 128. Bit 0 means +1 and bit 1 means -1.
//
// Each sign has mean 0 and variance 1, as a normal has, and is exact in every format. A block makes
// 128 of them (of normals, four).
#pragma once

#include <cstdint>

namespace talweg::core {

// `bit` in [0, 32).
constexpr float SignFromWord(uint32_t word, uint32_t bit) {
  return (word >> bit & 1) == 0 ? 1.0f : -1.0f;
}

}  // namespace talweg::core
