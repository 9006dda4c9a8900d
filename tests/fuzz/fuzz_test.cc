// SPDX-License-Identifier: Apache-2.0
//
// A seed's worth of hostile frames and numbers in a plain test. Every run draws another seed and
// prints it; TALWEG_FUZZ_SEED repeats one.
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "tests/fuzz/hostile_frames.h"

namespace talweg {
namespace {

using testing::RandomBytes;

uint64_t Seed() {
  const char* given = std::getenv("TALWEG_FUZZ_SEED");
  const uint64_t seed =
      given != nullptr
          ? std::strtoull(given, nullptr, 10)
          : static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::cout << "TALWEG_FUZZ_SEED=" << seed << std::endl;
  return seed;
}

// A case's own state, so that it can be run alone.
uint64_t StateOf(uint64_t seed, uint64_t number) { return seed * 1000003 + number; }

TEST(FuzzTest, HostileFramesAreRefusedAndChangeNothing) {
  const uint64_t seed = Seed();
  for (uint64_t number = 0; number < 60000; ++number) {
    uint64_t state = StateOf(seed, number);
    const std::string bytes = RandomBytes(100 + state % 900, state);
    ASSERT_EQ(testing::RunFrames(bytes), "") << "case " << number;
  }
}

TEST(FuzzTest, NumbersOfEveryDtypeAreConvertedRight) {
  const uint64_t seed = Seed();
  for (uint64_t number = 0; number < 40000; ++number) {
    uint64_t state = StateOf(seed, number);
    const std::string bytes = RandomBytes(100 + state % 400, state);
    ASSERT_EQ(testing::RunDtypes(bytes), "") << "case " << number;
  }
}

}  // namespace
}  // namespace talweg
