// SPDX-License-Identifier: Apache-2.0
//
// What a member is told about what it sent: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace talweg::core {

enum class Verdict : uint8_t { kApplied, kTooStale, kRejectedNonFinite, kRoundClosed, kPending };

// At most this many late workers are named. Their number is always told.
inline constexpr size_t kMaxLateNames = 16;

// What people want to know about a step.
struct StepReport {
  double learning_rate = 0;
  double gradient_norm = 0;
  double clip_factor = 1;
  double update_norm = 0;
  uint64_t staleness = 0;      // versions; the largest of the contributions
  uint32_t contributors = 0;   // contributions in the step
  std::optional<double> loss;  // mean of the contributions' first losses, by their exact sum
  double total_weight = 0;     // of the contributions as counted, exact, rounded once
  uint32_t num_late = 0;       // workers expected at the opening, live at the close, and not in it
  std::vector<std::string> late_workers;  // the first of them by name, at most kMaxLateNames
};

// The answer to a contribution. It is kept, and given again to a repeat.
struct Answer {
  Verdict verdict = Verdict::kApplied;
  bool replayed = false;
  // The version that the contribution is part of. While it is pending, the version that it may
  // become part of; if it was refused, the version that was current then.
  uint64_t applied_version = 0;
  std::shared_ptr<const StepReport> report;  // only if it was applied
  // While it is pending: no version will have the contribution as a part, whatever happens.
  bool will_not_count = false;
};

// The wait of a call is over.
struct Released {
  uint64_t ticket = 0;
  absl::Status status;  // an error if there is no answer
  Answer answer;
};

}  // namespace talweg::core
