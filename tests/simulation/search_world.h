// SPDX-License-Identifier: Apache-2.0
//
// A world that searches, from its first moment to its last: workers that hold ranges of pairs and
// die, freeze, tell twice, late, out of order, for another generation, and go on although another
// process has their name; a server that crashes and comes back; and the real host of the session
// (server/runtime) between them, in virtual time. One thread, no clock, no socket: a seed is the
// whole story.
#pragma once

#include <cstdint>
#include <string>

#include "core/search/search_mutation.h"
#include "server/runtime/host_mutation.h"

namespace talweg::simulation {

struct SearchWorldConfig {
  uint64_t seed = 0;  // draws the search, the fleet, and how much goes wrong
  core::SearchMutation mutation = core::SearchMutation::kNone;
  server::HostMutation host_mutation = server::HostMutation::kNone;
};

struct SearchWorldOutcome {
  std::string label, text;  // of the first broken promise; empty if none was broken
  uint64_t trace_hash = 0;
  uint64_t versions = 0;  // made
  uint64_t counted = 0;   // pairs, in all of them
  uint64_t tells = 0;
  uint64_t not_counted = 0;  // tells of which nothing was new
  uint64_t refused = 0;      // asks and tells
  uint64_t deaths = 0;       // of processes
  uint64_t crashes = 0;      // of the server
  uint64_t new_histories = 0;
  uint64_t changes = 0;   // of the configuration
  uint64_t lost = 0;      // messages
  uint64_t poisoned = 0;  // pairs that lost leases have dropped
};

// Runs the world until its end or its first broken promise. `aloud` prints what happens.
SearchWorldOutcome RunSearchWorld(const SearchWorldConfig& config, bool aloud = false);

}  // namespace talweg::simulation
