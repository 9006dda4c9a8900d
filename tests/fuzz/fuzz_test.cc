// SPDX-License-Identifier: Apache-2.0
//
// A seed's worth of hostile frames, contributions and numbers in a plain test. Every run draws
// another seed and prints it; TALWEG_FUZZ_SEED repeats one.
#include <iostream>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/fuzz/hostile_frames.h"
#include "tests/fuzz/run_contributions.h"
#include "tests/fuzz/seed.h"

namespace talweg {
namespace {

using testing::RandomBytes;

// Expects that all of `names` came, each often enough to mean something.
void ExpectSeen(const testing::Seen& seen, const std::set<std::string>& names) {
  for (const auto& [name, count] : seen) std::cout << name << " " << count << "\n";
  for (const std::string& name : names) {
    const auto found = seen.find(name);
    EXPECT_GE(found == seen.end() ? 0 : found->second, 100u) << name;
  }
}

TEST(FuzzTest, HostileFramesAreRefusedAndChangeNothing) {
  const uint64_t seed = testing::SeedOfRun();
  testing::Seen seen;
  for (uint64_t number = 0; number < 60000; ++number) {
    uint64_t state = testing::StateOfCase(seed, number);
    const std::string bytes = RandomBytes(100 + state % 900, state);
    ASSERT_EQ(testing::RunFrames(bytes, &seen), "") << "case " << number;
  }
  ExpectSeen(seen, {"part", "whole", "FRAME_UNEXPECTED", "CHUNK_MISPLACED", "CHUNK_CORRUPT",
                    "FIELD_REQUIRED", "FIELD_UNKNOWN", "FIELD_OUT_OF_RANGE", "SECTION_UNEXPECTED",
                    "SECTION_SIZE_MISMATCH"});
}

TEST(FuzzTest, HostileContributionsAreRefusedOrJudgedAndNothingElse) {
  const uint64_t seed = testing::SeedOfRun();
  testing::Seen seen;
  for (uint64_t number = 0; number < 40000; ++number) {
    uint64_t state = testing::StateOfCase(seed, number);
    const std::string bytes = RandomBytes(100 + state % 300, state);
    ASSERT_EQ(testing::RunContributions(bytes, &seen), "") << "case " << number;
  }
  ExpectSeen(seen,
             {"VERDICT_APPLIED", "VERDICT_ABSTAINED", "VERDICT_REJECTED_NON_FINITE",
              "VERDICT_TOO_STALE", "HISTORY_CHANGED", "WORKER_NOT_JOINED", "INCARNATION_FENCED",
              "SEQUENCE_TOO_OLD", "SEQUENCE_REUSED", "VERSION_AHEAD", "SECTION_MISSING",
              "SECTION_REPEATED", "SECTION_UNEXPECTED", "SECTION_SIZE_MISMATCH", "FIELD_REQUIRED",
              "FIELD_UNKNOWN", "FIELD_OUT_OF_RANGE"});
}

TEST(FuzzTest, NumbersOfEveryDtypeAreConvertedRight) {
  const uint64_t seed = testing::SeedOfRun();
  for (uint64_t number = 0; number < 40000; ++number) {
    uint64_t state = testing::StateOfCase(seed, number);
    const std::string bytes = RandomBytes(100 + state % 400, state);
    ASSERT_EQ(testing::RunDtypes(bytes), "") << "case " << number;
  }
}

}  // namespace
}  // namespace talweg
