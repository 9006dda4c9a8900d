// SPDX-License-Identifier: Apache-2.0
//
// The ways in which the fleet experiment makes versions, each with the policy that it asks the
// server for: one row per mode.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// The numbers of a fleet that its policy depends on.
struct FleetShape {
  uint64_t num_workers = 4;    // >= 1
  uint64_t k = 3;              // contributions that close a round of k_of_n, in [1, num_workers]
  uint64_t num_rounds = 1000;  // >= 1; a round is one gradient of every worker
  uint64_t lease_seconds = 2;  // of a silent worker; short, so that no round waits long for a dead
                               // one
};

struct FleetMode {
  absl::string_view name;   // as typed
  absl::string_view title;  // in a legend
  // Whether a version is made of the gradients of a round; else each gradient makes a version.
  bool rounds;
  double learning_rate;  // at the top of the cosine
  void (*set)(const FleetShape& shape, v1::AggregationPolicy& policy);
};

// In the order in which a comparison runs them.
absl::Span<const FleetMode> FleetModes();
// The mode of that name; null if there is none.
const FleetMode* FindFleetMode(absl::string_view name);

// How many versions one round makes, and all rounds of `shape`. A mode without rounds makes one
// version for each gradient, so that every mode takes the same number of gradients.
uint64_t VersionsARound(const FleetMode& mode, const FleetShape& shape);
uint64_t NumVersions(const FleetMode& mode, const FleetShape& shape);

// The session `session_id` of a fleet: a 784-128-10 network, Adam with a warm-up over a tenth of
// the versions and a cosine over all of them.
v1::CreateSessionRequest FleetRequest(absl::string_view session_id, const FleetMode& mode,
                                      const FleetShape& shape, uint64_t seed);

}  // namespace talweg
