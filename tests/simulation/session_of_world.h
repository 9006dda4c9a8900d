// SPDX-License-Identifier: Apache-2.0
//
// The session that a world trains: the real one, small. What its workers send follows from numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/event.h"
#include "core/session/session.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/trace.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

inline absl::Time ToTime(Nanoseconds time) { return absl::UnixEpoch() + absl::Nanoseconds(time); }
inline Nanoseconds FromTime(absl::Time time) {
  return absl::ToInt64Nanoseconds(time - absl::UnixEpoch());
}

// A policy with what goes with it.
struct Settings {
  core::AggregationConfig policy;
  double learning_rate = 0.125;
  uint64_t config_version = 1;
};
core::Configure ToConfigure(const Settings& settings);
Settings ToSettings(const core::Configure& configure);
core::SessionConfig ToConfig(const WorldConfig& world, const Settings& settings);

// At version 0.
std::unique_ptr<core::Session> MakeSession(const WorldConfig& world, uint64_t history,
                                           const Settings& settings);
// `history` as RoundMachine::Load. Null if the state is refused.
std::unique_ptr<core::Session> LoadSession(const WorldConfig& world, const std::string& state,
                                           const Settings& settings, uint64_t history,
                                           absl::Time now);

// Parameters of the world's session: a world whose arrays nobody looks at has the fewest that tell
// one payload from another.
uint32_t NumElements(const WorldConfig& world);
// The gradient that a payload stands for in a world with arrays: [num_elements], sizes far apart,
// zeros among them.
std::vector<float> GradientOf(const Payload& payload, uint32_t num_elements);
// The same in any world: [NumElements(world)].
std::vector<float> GradientOf(const WorldConfig& world, const Payload& payload);
// The parameters of version 0.
std::vector<float> FirstParameters(const WorldConfig& world);

}  // namespace talweg::simulation
