// SPDX-License-Identifier: Apache-2.0
//
// The learning rate of each step. `t` is the number of the step, counted from 1: step t makes
// version t. The rate rises to `learning_rate`, which step p has, and falls from there on.
//
//   eta_t = learning_rate * t / warmup_steps     if t < p
//   eta_t = learning_rate * decay(t)             if t >= p;  decay(p) = 1
//   p = max(warmup_steps, 1)
//
// So step p + 1 is the first that may have a decayed rate, and without warm-up p is the first step.
// A schedule knows of no step except t: after a live change the next step has the rate that the new
// schedule gives it, as if the new schedule had held from the first step on. A step that is below a
// longer warmup_steps has a rate of the warm-up again.
//
// These are pure functions in double precision that use only + - * / sqrt, so every machine
// computes the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/schedules/decay_point.h"

namespace talweg::core {

// What every schedule has.
struct RateConfig {
  double learning_rate = 0;   // the rate that warm-up leads to and decay starts from
  uint64_t warmup_steps = 0;  // the last of them has the whole learning_rate; 0: none
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
  double (*decay)(const Config& config, DecayPoint point);
  // The field total_steps of a decay that has an end. Null: the decay has no end.
  uint64_t (*total_steps)(const Config& config);
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

  // Fails with HYPERPARAMETER_OUT_OF_RANGE, naming the field ("cosine.total_steps"), if the decay
  // has an end that is not after the warm-up. LearningRate knows an answer even then: the rate is
  // at its end one step after the peak.
  absl::Status CheckWarmup() const;

  const ConfigOf<RateConfig>& rate() const { return rate_; }
  const DecayKind& kind() const { return *kind_; }
  const Config& decay_config() const { return *config_; }

 private:
  ConfigOf<RateConfig> rate_;
  const DecayKind* kind_;
  std::shared_ptr<const Config> config_;
};

}  // namespace talweg::core
