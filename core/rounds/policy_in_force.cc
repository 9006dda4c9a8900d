// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/policy_in_force.h"

#include "core/rounds/closing_rule.h"

namespace talweg::core {

PolicyInForce::PolicyInForce(const Configure& configuration)
    : configuration_(configuration),
      closing_(configuration.aggregation),
      close_config_version_(configuration.config_version) {}

bool PolicyInForce::Accept(const Configure& configuration, bool round_is_open) {
  if (!round_is_open) {
    next_.reset();
    Apply(configuration);
    return true;
  }
  next_ = configuration;
  const AggregationConfig changed = WithClosingRule(closing_, configuration.aggregation);
  if (SameClosingRule(changed, closing_)) return false;
  closing_ = changed;
  close_config_version_ = configuration.config_version;
  return true;
}

bool PolicyInForce::BeginNextVersion() {
  if (!next_.has_value()) return false;
  Apply(*next_);
  next_.reset();
  return true;
}

void PolicyInForce::Apply(const Configure& configuration) {
  configuration_ = configuration;
  closing_ = configuration.aggregation;
  close_config_version_ = configuration.config_version;
}

}  // namespace talweg::core
