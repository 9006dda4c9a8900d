// SPDX-License-Identifier: Apache-2.0
//
// What a session is asked and what it answers, as values. For every room of server from runtime up,
// and for wire, which converts them.
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
#include "core/base/dtype.h"
#include "core/rounds/event.h"
#include "core/rounds/round_description.h"
#include "core/search/generation_description.h"
#include "core/search/search_event.h"
#include "core/session/initial_values.h"
#include "core/session/parameters.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "core/session/state_digest.h"
#include "core/session/statistics.h"

namespace talweg::server {

// The error of a call whose contribution was judged but whose answer cannot be given just now: the
// client sends the same sequence again and gets the answer. The error has no reason, because an
// error with a reason promises that nothing has changed.
absl::Status AskAgain(const absl::Status& why);

// How a session is named, and what is known of it before any memory is taken.
struct SessionIdentity {
  std::string session_id;
  std::string request_id;
  uint32_t request_digest = 0;  // of the whole create request
  uint64_t history = 0;
  absl::Time create_time;
};

// Where the parameters of version 0 come from: a checked plan; numbers that are known to be finite
// in float32 and of the layout's size, whose bytes must live until the session is made; or the
// vector itself, filled with such numbers.
using InitialSource =
    std::variant<core::InitialValues, core::EncodedVector, std::unique_ptr<core::Parameters>>;

// What a session tells of itself.
struct SessionDescription {
  SessionIdentity identity;
  std::optional<core::SessionConfig> config;  // the newest
  uint64_t config_version = 0;
  uint64_t version = 0;
  uint64_t memory_bytes = 0;
  uint32_t num_workers = 0;
  uint32_t num_live_workers = 0;
  std::shared_ptr<const core::StepReport> last_step;  // null before the first
  core::RefusalCounts refusals;
  std::optional<uint32_t> checksum;
  std::shared_ptr<const core::StateDigest> digest;  // null unless it was asked for
  std::optional<core::RoundDescription> open_round;
  std::optional<core::GenerationDescription> open_generation;
};

// What Describe is to tell beside the rest: what takes time.
struct DescribeOptions {
  bool checksum = false;    // reads the whole state
  bool digest = false;      // reads the parameters and the slots
  bool open_round = false;  // or the open generation; looks at every worker
};

// A contribution as it came from the wire. The bytes of its gradient must live until the answer, or
// until `let_go` is called.
struct StepInput {
  core::Contribution contribution;  // the gradient's facts and the ticket are filled in here
  std::vector<double> losses;
  core::EncodedVector gradient;
  // Whether the numbers are a difference, which is the negative of a gradient.
  bool is_difference = false;
  bool has_weight = false;  // whether the contribution brought a weight
  // The gradient if it is staged already, instead of `gradient`; null if the host is to stage it.
  std::shared_ptr<core::StagedGradient> staged = nullptr;
  // What the contribution says of its statistics, if it has any, and their numbers, which must live
  // as those of the gradient; or the statistics if they are staged already.
  std::optional<core::StatisticsShape> statistics_shape = std::nullopt;
  core::EncodedVector statistics = {};
  std::shared_ptr<core::StagedStatistics> staged_statistics = nullptr;
  // Whether the answer needs the lookahead.
  bool wants_lookahead = false;
  // Called at most once, before the answer, if the call is parked: the bytes of the gradient are
  // not needed any more. May be empty.
  std::function<void()> let_go = nullptr;
};

struct StepOutcome {
  core::Answer answer;
  std::shared_ptr<const core::Parameters> parameters;  // of the current version
  std::shared_ptr<const core::Parameters>
      previous;  // before the step, if this call took it; or null
  // Of the current version, if it was asked for and is not the parameters themselves; or null.
  std::shared_ptr<const core::Parameters> lookahead;
  double next_learning_rate = 0;  // of the coming step
};

// A point of the visible version.
struct PointOutcome {
  std::shared_ptr<const core::Parameters> values;
  bool is_parameters = true;  // whether the point is the parameters themselves
  double next_learning_rate = 0;
};

// What there is to evaluate, and what of the session an evaluation needs to know.
struct AskOutcome {
  core::AskAnswer answer;
  uint64_t history = 0;
  core::SearchConfig config;  // of the open generation
  bool at_lookahead = false;  // where its perturbations start from: else from the parameters
};

struct TellOutcome {
  core::TellAnswer answer;
  uint64_t history = 0;
  core::SearchConfig config;  // as in AskOutcome
  bool at_lookahead = false;
  std::shared_ptr<const core::StepReport> report;  // null unless the losses closed their generation
};

// A generation that has closed, with the configuration that it was evaluated and applied with.
struct ClosedGeneration {
  std::shared_ptr<const core::GenerationRecord> record;
  std::shared_ptr<const core::SessionConfig> config;
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
