// SPDX-License-Identifier: Apache-2.0
//
// Many worlds, small ones and a few with a hundred thousand workers: no promise is broken in any.
#include <cstdint>
#include <iostream>

#include "gtest/gtest.h"
#include "tests/simulation/world.h"

namespace talweg::simulation {
namespace {

// Every small world with as many seeds; each shard is a test of its own, to run side by side.
constexpr uint64_t kSeedsOfWorld = 80;
constexpr uint64_t kShards = 4;

void RunShard(uint64_t shard) {
  Totals totals;
  const uint64_t num_worlds = SmallWorlds().size();
  for (uint64_t seed = shard; seed < kSeedsOfWorld * num_worlds; seed += kShards) {
    const WorldConfig world = MakeWorld(SmallWorlds()[seed % num_worlds], seed);
    const Outcome outcome = RunWorld(world);
    totals.Add(outcome);
    EXPECT_EQ(outcome.violation.label, "")
        << outcome.violation.text << "\nreplay: " << ReplayCommand(world);
  }
  std::cout << totals.Text() << "\n";
  // In most worlds the slowest must not be left behind, and everything that may go wrong has.
  EXPECT_GT(2 * totals.all_were_due, totals.worlds);
  EXPECT_GT(totals.sum.network_faults, 0u);
  EXPECT_GT(totals.sum.fleet.faults, 0u);
  EXPECT_GT(totals.sum.server.crashes, 0u);
  EXPECT_GT(totals.sum.server.new_histories, 0u);
  EXPECT_GT(totals.sum.server.deletions, 0u);
  EXPECT_GT(totals.sum.server.changes, 0u);
  EXPECT_GT(totals.sum.server.jumps, 0u);
}

TEST(SimulationTest, NoPromiseIsBrokenInShard0) { RunShard(0); }
TEST(SimulationTest, NoPromiseIsBrokenInShard1) { RunShard(1); }
TEST(SimulationTest, NoPromiseIsBrokenInShard2) { RunShard(2); }
TEST(SimulationTest, NoPromiseIsBrokenInShard3) { RunShard(3); }

// The seed is one whose world meets everything that is asked for below.
void RunBig(absl::string_view name, uint64_t seed, uint64_t min_versions) {
  const WorldConfig world = MakeWorld(name, seed);
  ASSERT_EQ(world.num_workers, 100'000u);
  const Outcome outcome = RunWorld(world);
  Totals totals;
  totals.Add(outcome);
  std::cout << name << ": " << totals.Text() << "\n";
  EXPECT_EQ(outcome.violation.label, "")
      << outcome.violation.text << "\nreplay: " << ReplayCommand(world);
  EXPECT_GE(outcome.fleet.processes, world.num_workers);
  EXPECT_GE(outcome.server.versions, min_versions);
  EXPECT_TRUE(outcome.all_were_due);
  EXPECT_GT(outcome.server.crashes, 0u);
  EXPECT_GT(outcome.server.deletions, 0u);
  EXPECT_GT(outcome.server.changes, 0u);
  EXPECT_GT(outcome.server.jumps, 0u);
}

// Rounds of nearly every worker, versions of one contribution each, and versions of 64.
TEST(SimulationTest, HundredThousandWorkersMakeRounds) { RunBig("big_synchronous", 1, 5); }
TEST(SimulationTest, HundredThousandWorkersKeepTheirBound) { RunBig("big_bounded", 2, 500'000); }
TEST(SimulationTest, HundredThousandWorkersAccumulate) { RunBig("big_asynchronous", 3, 8'000); }

TEST(SimulationTest, SameSeedIsTheSameWorld) {
  const uint64_t num_worlds = SmallWorlds().size();
  for (uint64_t seed = 0; seed < 2 * num_worlds; ++seed) {
    const WorldConfig world = MakeWorld(SmallWorlds()[seed % num_worlds], seed);
    const Outcome first = RunWorld(world);
    EXPECT_EQ(first.trace_hash, RunWorld(world).trace_hash) << world.name << " " << seed;
    EXPECT_NE(first.trace_hash, RunWorld(MakeWorld(world.name, seed + num_worlds)).trace_hash)
        << world.name << " " << seed;
  }
}

}  // namespace
}  // namespace talweg::simulation
