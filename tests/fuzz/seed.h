// SPDX-License-Identifier: Apache-2.0
//
// The seed that the cases of a run come from: a new one in every run, or TALWEG_FUZZ_SEED. For fuzz
// tests only.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace talweg::testing {

// The seed of this run. It is printed, so that the run can be repeated.
inline uint64_t SeedOfRun() {
  const char* given = std::getenv("TALWEG_FUZZ_SEED");
  const uint64_t seed =
      given != nullptr
          ? std::strtoull(given, nullptr, 10)
          : static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::cout << "TALWEG_FUZZ_SEED=" << seed << std::endl;
  return seed;
}

// The state of RandomBytes for one case of a run, so that the case can be run alone.
inline uint64_t StateOfCase(uint64_t seed, uint64_t number) { return seed * 1000003 + number; }

}  // namespace talweg::testing
