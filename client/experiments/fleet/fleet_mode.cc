// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_mode.h"

#include <algorithm>
#include <string>

#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network_session.h"

namespace talweg {
namespace {

constexpr size_t kWidths[] = {MnistSet::kPixels, 128, 10};
// Found by hand for four workers. A version of one gradient is noisier, and made of an older one,
// than a version of a round: it takes a shorter step.
constexpr double kRateOfRounds = 0.006;
constexpr double kRateOfGradients = 0.003;
constexpr uint64_t kMaxRoundsAhead = 4;

}  // namespace

absl::Span<const FleetMode> FleetModes() {
  static constexpr FleetMode kModes[] = {
      {"synchronous", "synchronous: waits for all", true, kRateOfRounds,
       [](const FleetShape& shape, v1::AggregationPolicy& policy) {
         policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
         policy.set_close(v1::CLOSE_RULE_ALL);
         policy.set_min_workers(shape.num_workers);
       }},
      {"bounded_staleness", "bounded staleness: at most 4 ahead", false, kRateOfGradients,
       [](const FleetShape&, v1::AggregationPolicy& policy) {
         policy.set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
         policy.set_max_rounds_ahead(kMaxRoundsAhead);
       }},
      {"asynchronous", "asynchronous: waits for nobody", false, kRateOfGradients,
       [](const FleetShape& shape, v1::AggregationPolicy& policy) {
         policy.set_mode(v1::AGGREGATION_MODE_ASYNCHRONOUS);
         // Whatever was taken within the run is applied.
         policy.set_max_staleness(shape.num_workers * shape.num_rounds);
       }},
      {"k_of_n", "k of n: waits for the first k", true, kRateOfRounds,
       [](const FleetShape& shape, v1::AggregationPolicy& policy) {
         policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
         policy.set_close(v1::CLOSE_RULE_COUNT);
         policy.set_close_count(shape.k);
         policy.set_too_few(v1::TOO_FEW_CLOSE);
         policy.set_min_workers(shape.num_workers);
       }},
  };
  return kModes;
}

const FleetMode* FindFleetMode(absl::string_view name) {
  const absl::Span<const FleetMode> modes = FleetModes();
  const auto found = std::find_if(modes.begin(), modes.end(),
                                  [&](const FleetMode& mode) { return mode.name == name; });
  return found == modes.end() ? nullptr : &*found;
}

uint64_t VersionsARound(const FleetMode& mode, const FleetShape& shape) {
  return mode.rounds ? 1 : shape.num_workers;
}

uint64_t NumVersions(const FleetMode& mode, const FleetShape& shape) {
  return VersionsARound(mode, shape) * shape.num_rounds;
}

v1::CreateSessionRequest FleetRequest(absl::string_view session_id, const FleetMode& mode,
                                      const FleetShape& shape, uint64_t seed) {
  v1::CreateSessionRequest request;
  request.set_session_id(std::string(session_id));
  SetNetwork(kWidths, seed, request);
  v1::SessionConfig& config = *request.mutable_config();
  config.mutable_optimizer()->mutable_adam();
  const uint64_t num_versions = NumVersions(mode, shape);
  v1::Schedule& schedule = *config.mutable_schedule();
  schedule.set_learning_rate(mode.learning_rate);
  schedule.set_warmup_steps(num_versions / 10);
  schedule.mutable_cosine()->set_total_steps(num_versions);
  v1::AggregationPolicy& policy = *config.mutable_aggregation();
  policy.set_lease_seconds(shape.lease_seconds);
  mode.set(shape, policy);
  return request;
}

}  // namespace talweg
