// SPDX-License-Identifier: Apache-2.0
//
// Each deliberate bug of the machine, and of what is around it, is found, in the seeds that are run
// anyway, and for what it is.
#include "core/rounds/mutation.h"

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/simulation/world.h"

namespace talweg::simulation {
namespace {

using core::Mutation;

// A quarter of the seeds of SimulationTest.
constexpr uint64_t kSeedsOfWorld = 20;

void Break(WorldConfig& world, Mutation mutation) { world.mutation = mutation; }
void Break(WorldConfig& world, server::HostMutation mutation) { world.host_mutation = mutation; }
void Break(WorldConfig& world, Flaw flaw) { world.flaw = flaw; }

// The first violation must have one of the `due` labels, and so must nearly all: what is broken may
// break other promises first. The first label must have been seen.
template <class Bug>
void Find(Bug bug, const std::vector<std::string>& due) {
  Totals totals;
  std::map<std::string, uint64_t> labels;
  const uint64_t num_worlds = SmallWorlds().size();
  for (uint64_t seed = 0; seed < kSeedsOfWorld * num_worlds; ++seed) {
    WorldConfig world = MakeWorld(SmallWorlds()[seed % num_worlds], seed);
    Break(world, bug);
    const Outcome outcome = RunWorld(world);
    totals.Add(outcome);
    const std::string& label = outcome.violation.label;
    if (label.empty()) continue;
    EXPECT_TRUE(!labels.empty() || std::count(due.begin(), due.end(), label) == 1) << label;
    if (++labels[label] > 1) continue;
    std::cout << "found first in " << world.name << ", seed " << seed << ": " << label << ": "
              << outcome.violation.text << "\n  " << ReplayCommand(world) << "\n";
  }
  std::cout << "in " << totals.violations << " of " << totals.worlds << " worlds:";
  uint64_t num_due = 0;
  for (const auto& [label, count] : labels) {
    std::cout << " " << label << " " << count;
    if (std::count(due.begin(), due.end(), label) > 0) num_due += count;
  }
  std::cout << "\n";
  EXPECT_EQ(labels.count(due.front()), 1u) << "nobody noticed";
  EXPECT_GE(20 * num_due, 19 * totals.violations);
}

TEST(MutationTest, ForgottenRepliesAreFound) {
  Find(Mutation::kForgetReplies, {"repeat_judged_anew", "counted_twice", "old_sequence_taken",
                                  "other_payload_taken", "bound_exceeded"});
}
TEST(MutationTest, CountedDuplicateIsFound) {
  // An abstention that is judged twice is told something else, or ends its round.
  Find(Mutation::kCountDuplicate,
       {"counted_twice", "repeat_judged_anew", "answer_wrong", "let_go_early", "counted_unasked"});
}
TEST(MutationTest, MissingFenceIsFound) { Find(Mutation::kIgnoreFencing, {"fenced_taken"}); }
TEST(MutationTest, WrongDenominatorIsFound) {
  Find(Mutation::kWrongDenominator, {"weight_surplus"});
}
TEST(MutationTest, LooseBoundIsFound) { Find(Mutation::kLooseBound, {"bound_exceeded"}); }
TEST(MutationTest, UnfoldedTermIsFound) { Find(Mutation::kUnfoldAtExpiry, {"weight_missing"}); }
TEST(MutationTest, UncheckedHistoryIsFound) {
  Find(Mutation::kIgnoreHistory, {"foreign_history_taken"});
}
TEST(MutationTest, KeptExpectationIsFound) {
  Find(Mutation::kKeepExpecting,
       {"waits_for_expired", "not_closed", "late_wrong", "kept_waiting", "answer_wrong"});
}
TEST(MutationTest, ExpectedAbstainerIsFound) {
  Find(Mutation::kExpectAbstainer,
       {"answer_wrong", "not_closed", "kept_waiting", "waits_for_expired", "counted_unasked"});
}
TEST(MutationTest, DroppedAnswerIsFound) { Find(Mutation::kDropAnswer, {"kept_waiting"}); }
TEST(MutationTest, LateTickIsFound) { Find(Mutation::kOversleep, {"tick_not_asked"}); }
TEST(MutationTest, IgnoredNonceIsFound) {
  Find(Mutation::kIgnoreNonce, {"fenced_by_itself", "fenced_taken"});
}
TEST(MutationTest, AnswerBeforeItsChangeIsDurableIsFound) {
  Find(server::HostMutation::kAnswerBeforeDurable, {"told_before_durable"});
}
TEST(MutationTest, AnswerBeforeItsVersionIsVisibleIsFound) {
  Find(server::HostMutation::kAnswerBeforeVisible, {"told_before_visible"});
}
TEST(MutationTest, WhoIsAlwaysTooStaleIsFound) { Find(Flaw::kOldVersion, {"starved"}); }
TEST(MutationTest, LostFoldIsFound) { Find(Flaw::kLoseFold, {"parameters_differ"}); }
TEST(MutationTest, LostWeightIsFound) { Find(Flaw::kLoseWeight, {"parameters_differ"}); }

}  // namespace
}  // namespace talweg::simulation
