// SPDX-License-Identifier: Apache-2.0
//
// Which configuration makes the next version, and which closing rule closes the open round. Only
// this room includes this file.
#pragma once

#include <cstdint>
#include <optional>

#include "core/rounds/aggregation_config.h"
#include "core/rounds/event.h"

namespace talweg::core {

// Thread-compatible.
class PolicyInForce {
 public:
  explicit PolicyInForce(const Configure& configuration);

  // The configuration of the version that is made next.
  const Configure& configuration() const { return configuration_; }
  const AggregationConfig& aggregation() const { return configuration_.aggregation; }
  bool bounded() const { return aggregation().mode == AggregationMode::kBoundedStaleness; }
  // The policy of the open round, with its closing rule; and the configuration that this rule came
  // from, which may be newer than configuration().
  const AggregationConfig& closing() const { return closing_; }
  uint64_t close_config_version() const { return close_config_version_; }

  // Another configuration was accepted. If a round is open, the configuration waits for the next
  // version; only its closing rule holds at once. Returns whether something is in force now that
  // was not before.
  bool Accept(const Configure& configuration, bool round_is_open);
  // A version was made. Returns what Accept returns.
  bool BeginNextVersion();

 private:
  void Apply(const Configure& configuration);

  Configure configuration_;
  std::optional<Configure> next_;  // from the next version on
  AggregationConfig closing_;
  uint64_t close_config_version_;
};

}  // namespace talweg::core
