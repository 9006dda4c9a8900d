// SPDX-License-Identifier: Apache-2.0
//
// What a world is like: its fleet, its policy, and how much goes wrong in it. A name and a seed
// determine all of it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/rounds/aggregation_config.h"
#include "core/rounds/mutation.h"
#include "server/runtime/host_mutation.h"
#include "tests/simulation/random.h"

namespace talweg::simulation {

// Means are in seconds of virtual time; 0 stands for never.
struct Faults {
  double request_loss = 0;  // shares of messages
  double reply_loss = 0;
  double duplicates = 0;    // of requests
  double slow_share = 0;    // of messages that take slow_seconds, so that others overtake them
  double slow_seconds = 0;  // mean
  double worker_every = 0;  // between two things that happen to some worker
  double server_crash_every = 0;
  double delete_every = 0;
  double configure_every = 0;
  double clock_jump_every = 0;
  double tick_late_seconds = 0;  // largest
  double not_finite = 0;         // shares of contributions
  double reuses_sequence = 0;
  double impatient = 0;   // share of contributions that are sent while the last one still waits
  double breaks_off = 0;  // share of the calls given up whose end the server learns of
};

// Deliberate bugs around the round machine, as core::Mutation has them within it.
enum class Flaw : uint8_t {
  kNone,
  kOldVersion,  // some processes are told for ever that the session is at version 0
  kLoseFold,    // the gradient of some contributions that count is lost
  kLoseWeight,  // some contributions count as if they weighed 1
};

struct WorldConfig {
  std::string name;
  uint64_t seed = 0;

  uint32_t num_workers = 1;
  uint32_t num_observers = 0;  // workers that join without the role of contributing gradients
  uint32_t num_elements = 0;   // parameters; 0: nobody looks at them
  core::AggregationConfig policy;
  double learning_rate = 0.125;
  double decay = 0;  // decoupled; with 1 and a learning rate of 1 only the gradient is left

  double compute_seconds = 1;  // of most workers
  double straggler_share = 0;
  double straggler_factor = 1;  // slower
  double delay_seconds = 0.02;  // of a message, mean
  double step_seconds = 0;      // that a step takes, largest
  double disk_seconds = 0.02;   // until a change that must be durable is, largest
  double call_timeout = 20;     // after which the same call is made again
  double asks_not_to_wait = 0;  // share of contributions
  double goes_on_pending = 0;   // share of pending contributions that are not asked about again
  double abstains = 0;          // share of contributions that are abstentions
  double closes = 0;            // share of contributions that ask for the close
  double pulls_anew = 0;        // share of verdicts whose parameters a worker does not go on with
  double heartbeat_share = 1;   // of the workers
  bool all_beat_in_calm = true;
  double lightest = 1;  // weights are drawn from [lightest, heaviest]
  double heaviest = 1;

  Faults faults;
  double fault_seconds = 60;  // after which nothing goes wrong any more
  double calm_seconds = 60;   // in which every worker must get on
  // Deliberate bugs of the round machine, of the host, and around the two.
  core::Mutation mutation = core::Mutation::kNone;
  server::HostMutation host_mutation = server::HostMutation::kNone;
  Flaw flaw = Flaw::kNone;
};

// Every small world; the test walks them all.
absl::Span<const absl::string_view> SmallWorlds();
// Each has a hundred thousand workers.
absl::Span<const absl::string_view> BigWorlds();

bool IsWorld(absl::string_view name);
WorldConfig MakeWorld(absl::string_view name, uint64_t seed);

// Whether every worker, even the slowest, gets an APPLIED under this policy if nothing goes wrong.
// Under another policy a fleet may leave its slowest behind, and all it owes them is a verdict.
bool LeavesNobodyBehind(const WorldConfig& world, const core::AggregationConfig& policy);

// Another policy that a live session may change to, under which the world can still get on.
core::AggregationConfig ChangePolicy(const WorldConfig& world, const core::AggregationConfig& from,
                                     Random& random);

}  // namespace talweg::simulation
