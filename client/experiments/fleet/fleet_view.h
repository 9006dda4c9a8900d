// SPDX-License-Identifier: Apache-2.0
//
// What a person sees of a fleet at work: on a terminal a page that is redrawn, elsewhere a line now
// and then.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/experiments/fleet/fleet_run.h"
#include "client/experiments/fleet/fleet_workers.h"
#include "client/terminal/screen.h"

namespace talweg {

// A fleet as it is now. Borrows.
struct FleetSight {
  const FleetRun& run;
  absl::Span<const FleetWorker> workers;
  uint64_t num_live = 0;  // workers that the server calls live
  std::string server;     // its address
  std::string session_id;
  absl::Duration elapsed;           // since the workers were started
  std::vector<std::string> events;  // the newest last
};

// As many lines as fit into `size`: the run in numbers, its loss as a curve, one row per worker,
// and the newest events.
std::vector<std::string> FleetPage(const FleetSight& sight, TerminalSize size);

// The run in numbers on one line.
std::string FleetLine(const FleetSight& sight);

// "k_of_n, 3 of 4".
std::string FleetModeText(const FleetRun& run);

}  // namespace talweg
