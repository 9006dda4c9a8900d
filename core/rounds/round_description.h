// SPDX-License-Identifier: Apache-2.0
//
// What the open round waits for, told as values to a person who asks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/aggregation_config.h"

namespace talweg::core {

// Some workers of a session.
struct WorkerList {
  uint64_t count = 0;
  std::vector<std::string> names;  // the first in the order of names, at most kMaxLateNames
};

struct RoundDescription {
  uint64_t version = 0;  // that the round will make
  AggregationMode mode = AggregationMode::kAsynchronous;
  std::optional<absl::Duration> open_for;    // since its first contribution; none before that
  std::optional<absl::Duration> frozen_for;  // since the set of expected workers was frozen

  WorkerList contributed;  // each once, although accumulation may take several of one worker
  // Workers that the round still waits for. With bounded staleness: the slowest, if others wait for
  // them.
  WorkerList expected;
  // Workers that were expected when the round froze, have contributed nothing, and are expected no
  // longer: they expired, left, were replaced, made no progress, or sent what was refused.
  WorkerList late;
  // Workers that have abstained since the version before; `count` is that of their abstentions.
  WorkerList abstained;
  // Workers with a contribution that waits for its verdict and will be refused.
  WorkerList will_not_count;

  // What closes it: the rule in force and how far it has come.
  CloseRule close = CloseRule::kAll;  // only if synchronous
  TooFew too_few = TooFew::kWait;     // with COUNT and WEIGHT
  uint64_t config_version = 0;        // of the configuration that the rule came from
  uint64_t num_contributions = 0;
  uint64_t needed_contributions = 0;  // abstentions included; 0: their number closes nothing
  double weight = 0;
  double needed_weight = 0;                 // 0: the weight closes nothing
  std::optional<absl::Duration> closes_in;  // when time alone closes it; not below 0
  // Before version 1, a synchronous round does not freeze with fewer than `needed_live_workers`
  // live gradient workers. Otherwise, and once it is frozen, both are 0.
  uint64_t num_live_workers = 0;
  uint64_t needed_live_workers = 0;
};

}  // namespace talweg::core
