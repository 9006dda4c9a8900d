// SPDX-License-Identifier: Apache-2.0
//
// The learning rate of each step. `t` is the number of the step, counted from 1; `u = t - 1` are
// the steps taken before it.
//
//   eta_t = learning_rate * min(1, t / warmup_steps) * decay(t)
//
// These are pure functions in double precision that use only + - * / sqrt, so every machine
// computes the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/field.h"

namespace talweg::core {

// What every schedule has.
struct RateConfig {
  double learning_rate = 0;   // the rate that warm-up leads to and decay starts from
  uint64_t warmup_steps = 0;  // 0: none
  static auto Fields() {
    return std::tuple{
        Field{"learning_rate", &RateConfig::learning_rate, Positive(), Change::kLive,
              Presence::kRequired},
        Field{"warmup_steps", &RateConfig::warmup_steps, AtLeast(0)},
    };
  }
};

// One way in which the rate falls: a row of the table.
struct DecayKind {
  absl::string_view name;  // as in the proto's oneof
  std::unique_ptr<Config> (*default_config)();
  double (*decay)(const Config& config, uint64_t step);  // step >= 1
};

// Every kind; the first, "constant", is the default.
absl::Span<const DecayKind> DecayKinds();
// Null if no kind has this name.
const DecayKind* FindDecayKind(absl::string_view name);

// A value; copies share what never changes.
class Schedule {
 public:
  // `config` is of the kind's own type and valid.
  Schedule(ConfigOf<RateConfig> rate, const DecayKind& kind, std::shared_ptr<const Config> config)
      : rate_(std::move(rate)), kind_(&kind), config_(std::move(config)) {}

  // eta of step `step` (>= 1).
  double LearningRate(uint64_t step) const;

  const ConfigOf<RateConfig>& rate() const { return rate_; }
  const DecayKind& kind() const { return *kind_; }
  const Config& decay_config() const { return *config_; }

 private:
  ConfigOf<RateConfig> rate_;
  const DecayKind* kind_;
  std::shared_ptr<const Config> config_;
};

}  // namespace talweg::core
