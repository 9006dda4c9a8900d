// SPDX-License-Identifier: Apache-2.0
//
// What every method of the catalogue is: state that takes steps over shards of the flat vector.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/base/shard.h"
#include "core/base/state_visitor.h"

namespace talweg::core {

// What a step is told.
struct StepContext {
  uint64_t number = 0;       // of the step, from 1: it makes this version
  double learning_rate = 0;  // eta of this step
};

// Thread-compatible, except that Apply may run on disjoint shards at the same time.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Takes other hyper-parameters, of the method's own config type and with the same fixed fields,
  // from the next BeginStep on.
  virtual void Configure(const Config& config) = 0;

  // Opens step `step.number`: whatever is once a step and not once an element. Called before any
  // Apply of that step, while none runs.
  virtual void BeginStep(const StepContext& step) = 0;

  // Takes the open step for the elements of `shard`: reads version v from `from`, writes v + 1 to
  // `to` (the same span or apart; a visible version is never written to). All spans are the whole
  // session, [num_elements], 64-byte aligned. Any cut into shards gives the same bits.
  virtual void Apply(Shard shard, absl::Span<const float> gradient, absl::Span<const float> from,
                     absl::Span<float> to) = 0;

  // Names each slot and scalar once, always in the same order.
  virtual void VisitState(StateVisitor& visitor) = 0;
};

}  // namespace talweg::core
