// SPDX-License-Identifier: Apache-2.0
//
// What a session is asked and what it answers, as values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/kernels/dtype.h"
#include "core/rounds/event.h"
#include "core/rounds/round_description.h"
#include "core/session/initial_values.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"

namespace talweg::server {

// Where a contribution was judged and its answer cannot be given just now: without a reason, for an
// error that has one says that nothing has changed. The same sequence gets the answer.
absl::Status AskAgain(const absl::Status& why);

// Whom a session is made for, and what is known of it before any memory is taken.
struct SessionIdentity {
  std::string session_id;
  std::string request_id;
  uint32_t request_digest = 0;  // of the whole create request
  uint64_t history = 0;
  absl::Time create_time;
};

// Where version 0 comes from: a checked plan, or numbers that are known to be finite in float32 and
// of the layout's size. Their bytes must live until the session is made.
using InitialSource = std::variant<core::InitialValues, core::EncodedVector>;

// What Describe tells.
struct SessionDescription {
  SessionIdentity identity;
  std::optional<core::SessionConfig> config;  // the newest
  uint64_t config_version = 0;
  uint64_t version = 0;
  uint64_t memory_bytes = 0;
  uint32_t num_workers = 0;
  uint32_t num_live_workers = 0;
  std::shared_ptr<const core::StepReport> last_step;  // null before the first
  std::optional<uint32_t> checksum;
  std::optional<core::RoundDescription> open_round;
};

// A contribution as it came from the wire, with the whole gradient, whose bytes must live until the
// answer or `let_go`.
struct StepInput {
  core::Contribution contribution;  // the gradient's facts and the ticket are filled in here
  std::vector<double> losses;
  core::EncodedVector gradient;
  // It is the gradient's negative.
  bool is_difference = false;
  bool has_weight = false;  // it brought one
  // The gradient staged already, in the place of `gradient`; null: the host stages it.
  std::shared_ptr<core::StagedGradient> staged = nullptr;
  // Whether the answer needs the lookahead.
  bool wants_lookahead = false;
  // Called, at most once and before the answer, where the call is parked: the gradient's bytes are
  // not needed any more. May be empty.
  std::function<void()> let_go = nullptr;
};

struct StepOutcome {
  core::Answer answer;
  std::shared_ptr<const core::Parameters> parameters;  // of the current version
  std::shared_ptr<const core::Parameters> previous;    // where this call took the step: before it
  // Where it was asked for and is not the parameters themselves: of the current version.
  std::shared_ptr<const core::Parameters> lookahead;
  double next_learning_rate = 0;  // eta of the coming step
};

// A point of the visible version.
struct PointOutcome {
  std::shared_ptr<const core::Parameters> values;
  bool is_parameters = true;  // or what it comes to
  double next_learning_rate = 0;
};

// What a worker learns when it joins or shows that it lives.
struct JoinOutcome {
  uint64_t history = 0;
  uint64_t version = 0;
  uint64_t incarnation = 0;
  uint64_t lease_seconds = 0;
  bool replies_wait = false;
};

}  // namespace talweg::server
