// SPDX-License-Identifier: Apache-2.0
//
// The only source of chance in a simulation: SplitMix64 (Steele, Lea, Flood 2014), so that a seed
// is the whole story. It uses no distribution of the standard library, because their draws differ
// between libraries.
#pragma once

#include <cstdint>

namespace talweg::simulation {

// A number that looks nothing like its neighbours'.
constexpr uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(Mix(seed + 1)) {}

  uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15); }
  // In [0, 1).
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  bool Chance(double probability) { return Unit() < probability; }
  // In [0, bound), bound > 0.
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  // In [low, high]; both ends are possible.
  uint64_t Whole(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }
  // In [low, high).
  double Between(double low, double high) { return low + (high - low) * Unit(); }
  // Around `mean`; one draw in ten is many times longer.
  double LongTailed(double mean) {
    const double unit = Unit();
    return Chance(0.1) ? mean * (1 + 5 * unit) : mean * (0.3 + 0.9 * unit);
  }

 private:
  uint64_t state_;
};

}  // namespace talweg::simulation
