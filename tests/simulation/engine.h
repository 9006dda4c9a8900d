// SPDX-License-Identifier: Apache-2.0
//
// What the simulated server serves: the real state machine, alone or within a real session that
// holds arrays. Both live in core; nothing of them is imitated here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/rounds/event.h"
#include "core/rounds/round_machine.h"
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

class Engine {
 public:
  virtual ~Engine() = default;

  // `payload` is the contribution's if the event is one.
  virtual core::Effects Handle(const core::Event& event, const Payload* payload,
                               absl::Time now) = 0;
  virtual core::Effects Configure(const Settings& settings, absl::Time now) = 0;
  // Takes the step that was ordered last.
  virtual core::Effects TakeStep(absl::Time now) = 0;
  virtual const core::RoundMachine& machine() const = 0;
  virtual std::string Save() = 0;
  // Empty if the engine holds no arrays.
  virtual absl::Span<const float> parameters() const = 0;
};

std::unique_ptr<Engine> MakeEngine(const WorldConfig& world, uint64_t history,
                                   const Settings& settings);
// `history` as for RoundMachine::Load. Null if the state is refused.
std::unique_ptr<Engine> LoadEngine(const WorldConfig& world, const std::string& state,
                                   const Settings& settings, uint64_t history, absl::Time now);

// The gradient that a payload stands for: [num_elements], sizes far apart, zeros among them.
std::vector<float> GradientOf(const Payload& payload, uint32_t num_elements);
// The parameters of version 0.
std::vector<float> FirstParameters(const WorldConfig& world);

}  // namespace talweg::simulation
