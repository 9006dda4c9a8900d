// SPDX-License-Identifier: Apache-2.0
//
// Each deliberate bug of the machine is found, in the seeds that are run anyway, and for what it
// is.
#include "core/rounds/mutation.h"

#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/simulation/world.h"

namespace talweg::simulation {
namespace {

using core::Mutation;

// A quarter of the seeds of SimulationTest.
constexpr uint64_t kSeedsOfWorld = 20;

// The first violation must have one of the `due` labels, and so must nearly all: a broken machine
// may break other promises first.
void Find(Mutation mutation, const std::set<std::string>& due) {
  Totals totals;
  std::map<std::string, uint64_t> labels;
  std::optional<WorldConfig> first;
  const uint64_t num_worlds = SmallWorlds().size();
  for (uint64_t seed = 0; seed < kSeedsOfWorld * num_worlds; ++seed) {
    WorldConfig world = MakeWorld(SmallWorlds()[seed % num_worlds], seed);
    if (world.num_elements > 0) continue;  // a session has no such switch
    world.mutation = mutation;
    const Outcome outcome = RunWorld(world);
    totals.Add(outcome);
    const std::string& label = outcome.violation.label;
    if (label.empty()) continue;
    ++labels[label];
    if (first.has_value()) continue;
    first = world;
    std::cout << "found first in " << world.name << ", seed " << seed << ": " << label << ": "
              << outcome.violation.text << "\n  " << ReplayCommand(world) << "\n";
    EXPECT_EQ(due.count(label), 1u) << label;
  }
  EXPECT_TRUE(first.has_value()) << "nobody noticed";
  std::cout << "in " << totals.violations << " of " << totals.worlds << " worlds:";
  uint64_t num_due = 0;
  for (const auto& [label, count] : labels) {
    std::cout << " " << label << " " << count;
    num_due += due.count(label) * count;
  }
  std::cout << "\n";
  EXPECT_GE(20 * num_due, 19 * totals.violations);
}

TEST(MutationTest, ForgottenRepliesAreFound) {
  Find(Mutation::kForgetReplies, {"repeat_judged_anew", "counted_twice", "old_sequence_taken",
                                  "other_payload_taken", "bound_exceeded"});
}
TEST(MutationTest, CountedDuplicateIsFound) { Find(Mutation::kCountDuplicate, {"counted_twice"}); }
TEST(MutationTest, MissingFenceIsFound) { Find(Mutation::kIgnoreFencing, {"fenced_taken"}); }
TEST(MutationTest, WrongDenominatorIsFound) {
  Find(Mutation::kWrongDenominator, {"weight_surplus"});
}
TEST(MutationTest, LooseBoundIsFound) { Find(Mutation::kLooseBound, {"bound_exceeded"}); }
TEST(MutationTest, UnfoldedTermIsFound) { Find(Mutation::kUnfoldAtExpiry, {"weight_missing"}); }
TEST(MutationTest, UncheckedHistoryIsFound) {
  Find(Mutation::kIgnoreHistory, {"foreign_history_taken"});
}

}  // namespace
}  // namespace talweg::simulation
