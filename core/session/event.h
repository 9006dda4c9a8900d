// SPDX-License-Identifier: Apache-2.0
//
// What may happen to a session, and what follows from it: values, without arrays, clock or thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "core/base/field.h"
#include "core/optimizers/optimizer.h"
#include "core/schedules/schedule.h"
#include "core/session/session_config.h"

namespace talweg::core {

// A worker comes. `incarnation` is new: larger than any issued before, for whatever session.
struct Join {
  std::string worker;
  uint64_t incarnation = 0;
};

// A worker lives.
struct Heartbeat {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
};

// A worker goes.
struct Leave {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
};

// A gradient arrived whole. What the decision needs to know of it was measured while it was staged.
struct Contribution {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;  // >= 1
  uint64_t base_version = 0;
  bool finite = false;  // no NaN and no infinity in it
  uint32_t digest = 0;  // of everything the worker sent, see PayloadDigest
  std::optional<double> loss;
};

// The step that was ordered is taken: the parameters of the next version stand.
struct StepTaken {
  double gradient_norm = 0;  // Euclidean, of what is trained, before it was clipped
  double clip_factor = 1;    // the smallest that clipping by norm multiplied a gradient with
  double update_norm = 0;    // Euclidean
};

// The schedule and the policy change from the next version on.
struct Configure {
  Schedule schedule;
  AggregationConfig aggregation;
};

using Event = std::variant<Join, Heartbeat, Leave, Contribution, StepTaken, Configure>;

enum class Verdict { kApplied, kTooStale, kRejectedNonFinite, kRoundClosed, kPending };

// What people ask about a step.
struct StepReport {
  double learning_rate = 0;
  double gradient_norm = 0;
  double clip_factor = 1;
  double update_norm = 0;
  uint64_t staleness = 0;     // versions; the largest of the contributions
  uint32_t contributors = 0;  // contributions in the step
  std::optional<double> loss;
};

// The answer to a contribution; kept, and given again to a repeat.
struct Answer {
  Verdict verdict = Verdict::kApplied;
  bool replayed = false;
  // Version the contribution is part of, or will be where it is pending, or that was current when
  // it was refused.
  uint64_t applied_version = 0;
  std::optional<StepReport> report;  // where applied
};

// The step to take.
struct StepOrder {
  uint64_t number = 0;        // it makes this version
  double learning_rate = 0;   // eta
  uint32_t contributors = 1;  // whose mean gradient it takes, the folded ones among them
};

// What follows from an event. Where `status` is an error nothing has changed.
struct Effects {
  absl::Status status;
  std::optional<Answer> answer;   // for the contribution that caused the event
  bool fold = false;              // add the gradient to those that wait, then go on
  std::optional<StepOrder> step;  // take this step, then say StepTaken
};

}  // namespace talweg::core
