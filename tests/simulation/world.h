// SPDX-License-Identifier: Apache-2.0
//
// A world from its first moment to its last: a fleet, a network, a server, an oracle, and the order
// in which things happen to them. It has one thread, no clock and no socket, so the same name and
// seed give the same world, number for number.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulation/fleet.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/server.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

struct Outcome {
  Violation violation;  // the first; without a label if there was none
  uint64_t trace_hash = 0;
  uint64_t occasions = 0;
  FleetTotals fleet;
  ServerTotals server;
  uint64_t network_faults = 0;
  bool all_were_due = false;  // Every worker was due an APPLIED, and got it.

  uint64_t faults() const {
    return network_faults + fleet.faults + server.crashes + server.deletions + server.jumps;
  }
};

// Runs the world until its end or its first violation. `aloud` prints what happens.
Outcome RunWorld(const WorldConfig& world, bool aloud = false);

// The command that shows what happened in a world.
std::string ReplayCommand(const WorldConfig& world);

// What many worlds came to.
struct Totals {
  uint64_t worlds = 0;
  uint64_t violations = 0;
  uint64_t all_were_due = 0;
  Outcome sum;

  void Add(const Outcome& outcome);
  std::string Text() const;
};

}  // namespace talweg::simulation
