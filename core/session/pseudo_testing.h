// SPDX-License-Identifier: Apache-2.0
//
// For tests only: numbers that look random and are the same in every run. States that are checked
// in were made of them (saved_states_testing.h), so they must not change.
#pragma once

#include <cstdint>
#include <vector>

namespace talweg::core {

inline uint64_t PseudoBits(uint64_t seed, uint64_t index) {
  uint64_t x = seed * 0x9e3779b97f4a7c15 + index * 0xbf58476d1ce4e5b9 + 1;
  x ^= x >> 29;
  x *= 0x94d049bb133111eb;
  x ^= x >> 32;
  return x;
}

// The upper 24 bits as an integer in [-2^23, 2^23).
inline float PseudoMantissa(uint64_t bits) {
  return static_cast<float>(static_cast<int64_t>(bits) >> 40);
}

// Floats in [-1, 1).
inline std::vector<float> PseudoVector(uint64_t seed, uint64_t size) {
  std::vector<float> values(size);
  for (uint64_t index = 0; index < size; ++index) {
    values[index] = PseudoMantissa(PseudoBits(seed, index)) / static_cast<float>(1 << 23);
  }
  return values;
}

}  // namespace talweg::core
