// SPDX-License-Identifier: Apache-2.0
//
// Many worlds that search: no promise is broken in any, and each deliberate bug is found.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/simulation/search_world.h"

namespace talweg::simulation {
namespace {

constexpr uint64_t kSeeds = 400;
constexpr uint64_t kSeedsOfABug = 100;

TEST(SearchSimulationTest, NoPromiseIsBroken) {
  SearchWorldOutcome sum;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const SearchWorldOutcome outcome = RunSearchWorld({.seed = seed});
    EXPECT_EQ(outcome.label, "") << outcome.text
                                 << "\nreplay: build/dev/tests/search_simulation_replay " << seed;
    sum.versions += outcome.versions;
    sum.counted += outcome.counted;
    sum.tells += outcome.tells;
    sum.not_counted += outcome.not_counted;
    sum.refused += outcome.refused;
    sum.deaths += outcome.deaths;
    sum.crashes += outcome.crashes;
    sum.new_histories += outcome.new_histories;
    sum.changes += outcome.changes;
    sum.lost += outcome.lost;
    sum.poisoned += outcome.poisoned;
  }
  std::cout << kSeeds << " worlds, " << sum.versions << " versions of " << sum.counted << " pairs, "
            << sum.tells << " tells, of which " << sum.not_counted << " had nothing new, "
            << sum.refused << " calls refused, " << sum.deaths << " workers killed, " << sum.crashes
            << " crashes of the server, " << sum.new_histories << " new histories, " << sum.changes
            << " changes of the configuration, " << sum.lost << " messages lost, " << sum.poisoned
            << " pairs dropped because their leases were lost\n";
  // Everything that may go wrong has.
  EXPECT_GT(sum.versions, 20 * kSeeds);
  EXPECT_GT(sum.not_counted, kSeeds);
  EXPECT_GT(sum.refused, kSeeds);
  EXPECT_GT(sum.deaths, kSeeds);
  EXPECT_GT(sum.crashes, kSeeds / 2);
  EXPECT_GT(sum.new_histories, 0u);
  EXPECT_GT(sum.changes, kSeeds);
  EXPECT_GT(sum.lost, kSeeds);
  EXPECT_GT(sum.poisoned, kSeeds / 4);
}

TEST(SearchSimulationTest, SameSeedIsTheSameWorld) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const SearchWorldOutcome first = RunSearchWorld({.seed = seed});
    EXPECT_EQ(first.trace_hash, RunSearchWorld({.seed = seed}).trace_hash) << seed;
    EXPECT_NE(first.trace_hash, RunSearchWorld({.seed = seed + 1000}).trace_hash) << seed;
  }
}

// The first promise that is broken must be one of those that the bug is due to break.
void Find(SearchWorldConfig world, const std::vector<std::string>& due) {
  std::map<std::string, uint64_t> labels;
  for (uint64_t seed = 0; seed < kSeedsOfABug; ++seed) {
    world.seed = seed;
    const SearchWorldOutcome outcome = RunSearchWorld(world);
    if (outcome.label.empty()) continue;
    if (++labels[outcome.label] > 1) continue;
    std::cout << "found first in seed " << seed << ": " << outcome.label << ": " << outcome.text
              << "\n";
  }
  uint64_t found = 0;
  for (const auto& [label, count] : labels) {
    EXPECT_EQ(std::count(due.begin(), due.end(), label), 1) << label;
    std::cout << label << " " << count << "\n";
    found += count;
  }
  EXPECT_GE(found, 3u) << "nobody noticed";
}

using core::SearchMutation;

TEST(SearchMutationTest, SecondLossThatWinsIsFound) {
  Find({.mutation = SearchMutation::kSecondLossWins}, {"losses_wrong"});
}
TEST(SearchMutationTest, HalfAPairThatCountsIsFound) {
  Find({.mutation = SearchMutation::kCountHalfPair}, {"verdict_wrong", "losses_wrong"});
}
TEST(SearchMutationTest, LeaseOfADeadWorkerIsFound) {
  Find({.mutation = SearchMutation::kKeepDeadLease},
       {"lease_wrong", "kept_waiting", "verdict_wrong", "tick_not_asked", "starved"});
}
TEST(SearchMutationTest, LeaseWithoutAnEndIsFound) {
  Find({.mutation = SearchMutation::kKeepLease},
       {"lease_wrong", "kept_waiting", "not_closed", "tick_not_asked", "verdict_wrong",
        "expiry_wrong", "starved"});
}
TEST(SearchMutationTest, LateLossThatCountsIsFound) {
  Find({.mutation = SearchMutation::kCountLate}, {"verdict_wrong", "losses_wrong"});
}
TEST(SearchMutationTest, FailureThatCountsTwiceIsFound) {
  Find({.mutation = SearchMutation::kCountFailureTwice}, {"verdict_wrong"});
}
TEST(SearchMutationTest, LostLeaseThatCountsForNothingIsFound) {
  Find({.mutation = SearchMutation::kForgetLoss},
       {"lease_wrong", "given_too_much", "not_closed", "tick_not_asked", "verdict_wrong"});
}
TEST(SearchMutationTest, WrongDivisorIsFound) {
  Find({.mutation = SearchMutation::kWrongDivisor}, {"parameters_differ"});
}
TEST(SearchMutationTest, MissingFenceIsFound) {
  Find({.mutation = SearchMutation::kIgnoreFencing}, {"error_wrong"});
}
TEST(SearchMutationTest, UncheckedHistoryIsFound) {
  Find({.mutation = SearchMutation::kIgnoreHistory}, {"error_wrong"});
}
TEST(SearchMutationTest, NumberThatIsUsedTwiceIsFound) {
  Find({.mutation = SearchMutation::kKeepNumber}, {"lease_wrong", "error_wrong", "verdict_wrong"});
}
TEST(SearchMutationTest, LateTickIsFound) {
  Find({.mutation = SearchMutation::kOversleep}, {"tick_not_asked"});
}
TEST(SearchMutationTest, AnswerBeforeItsChangeIsDurableIsFound) {
  Find({.host_mutation = server::HostMutation::kAnswerBeforeDurable}, {"told_before_durable"});
}
TEST(SearchMutationTest, AnswerBeforeItsVersionIsVisibleIsFound) {
  Find({.host_mutation = server::HostMutation::kAnswerBeforeVisible}, {"told_before_visible"});
}

}  // namespace
}  // namespace talweg::simulation
