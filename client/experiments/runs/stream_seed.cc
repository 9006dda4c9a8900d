// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/runs/stream_seed.h"

namespace talweg {
namespace {

// A step of SplitMix64 (Steele, Lea, Flood 2014): seeds that differ in a bit lead far apart.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t StreamSeed(uint64_t seed, absl::string_view worker, uint64_t life) {
  uint64_t mixed = Mix(seed);
  for (const char c : worker) mixed = Mix(mixed ^ static_cast<unsigned char>(c));
  return Mix(mixed ^ life);
}

}  // namespace talweg
