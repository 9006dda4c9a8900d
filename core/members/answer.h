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
#include "core/base/sha256.h"

namespace talweg::core {

// Saved states have all of these except kPending as bytes.
enum class Verdict : uint8_t {
  kApplied,
  kTooStale,
  kRejectedNonFinite,
  kRoundClosed,
  kAbstained,  // The worker had no gradient, and said so.
  kPending,
};

// Whether a verdict, which is final, says that a gradient was not taken.
inline bool IsRefusal(Verdict verdict) {
  return verdict != Verdict::kApplied && verdict != Verdict::kAbstained;
}

// At most this many late workers are named. Their number is always told.
inline constexpr size_t kMaxLateNames = 16;

// What people want to know about a step of a search, in numbers. The message SearchReport in
// proto/talweg/v1/search.proto says what each of them is.
struct SearchNumbers {
  uint32_t generation = 0;
  uint32_t num_pairs = 0;
  uint32_t num_counted = 0;
  uint32_t num_dropped = 0;
  uint32_t num_non_finite = 0;
  uint32_t num_ties = 0;
  double loss_mean = 0;
  double loss_deviation = 0;
  double loss_min = 0;
  double loss_max = 0;
  std::optional<double> evaluated_loss;
  float sigma = 0;
  double weight_norm = 0;
  std::optional<double> signal_to_noise;
  std::optional<double> gradient_learning_rate;
  uint64_t num_examples = 0;
  std::optional<bool> accepted;

  bool operator==(const SearchNumbers&) const = default;
};

// What people want to know about a step that used curvature, in numbers. The message
// CurvatureReport in proto/talweg/v1/session.proto says what each of them is.
struct CurvatureNumbers {
  double damping = 0;
  std::optional<double> reduction_ratio;
  double step_clip_factor = 1;
  uint64_t inverse_version = 0;
  uint64_t inverse_age_steps = 0;
  double inverse_age_seconds = 0;
  uint32_t num_statistics = 0;
  double num_samples = 0;
  uint32_t num_layers_without_inverse = 0;
  uint64_t num_raised_dampings = 0;
  uint64_t num_failed_inverses = 0;
  uint64_t num_unclipped_steps = 0;
  uint64_t num_too_long_steps = 0;

  bool operator==(const CurvatureNumbers&) const = default;
};

// What people want to know about a step, in numbers.
struct StepNumbers {
  double learning_rate = 0;
  double gradient_norm = 0;
  double clip_factor = 1;
  double update_norm = 0;
  uint64_t staleness = 0;      // versions; the largest of the contributions
  uint32_t contributors = 0;   // contributions in the step
  std::optional<double> loss;  // of the contributions' first losses, reduced as their gradients
  uint32_t num_losses_left_out = 0;  // losses that are not finite, and are not in `loss`
  double total_weight = 0;           // of the contributions as counted, exact, rounded once
  // Workers that were expected when the round opened, and are no part of it, in two groups: those
  // that were live when it closed, and those whose lease ended while it was open.
  uint32_t num_late = 0;
  uint32_t num_expired = 0;
  uint32_t num_abstained = 0;  // abstentions, see Contribution::abstains
  // Elements of the new parameters that are not finite, and the first of them.
  uint64_t num_non_finite = 0;
  uint64_t first_non_finite = 0;
  // Of the state that the step made, if the session wants one of this version.
  std::optional<Sha256> state_digest = std::nullopt;
  std::shared_ptr<const SearchNumbers> search = nullptr;        // null unless the session searches
  std::shared_ptr<const CurvatureNumbers> curvature = nullptr;  // null unless the method uses it
};

// The same with the first names of the late, the expired and the abstaining workers in order, at
// most kMaxLateNames of each.
struct StepReport : StepNumbers {
  std::vector<std::string> late_workers;
  std::vector<std::string> expired_workers;
  std::vector<std::string> abstained_workers;
};

// How many contributions were refused: they got a final verdict and are part of no version.
// Abstentions are not refused.
struct RefusalCounts {
  uint64_t too_stale = 0;
  uint64_t rejected_non_finite = 0;
  uint64_t round_closed = 0;

  void Count(Verdict verdict) {
    if (verdict == Verdict::kTooStale) ++too_stale;
    if (verdict == Verdict::kRejectedNonFinite) ++rejected_non_finite;
    if (verdict == Verdict::kRoundClosed) ++round_closed;
  }
  bool operator==(const RefusalCounts&) const = default;
};

// Where a gradient that was refused is not finite: its first such element.
struct GradientFault {
  std::string tensor;
  uint64_t element = 0;  // in the tensor, row-major
  // The element is infinite, and some of the gradient came in a dtype whose largest number is
  // small: the worker's own number may have been finite.
  bool may_have_overflowed = false;
  // It is not in the gradient but in the statistics of the layer whose weight `tensor` is;
  // `element` says nothing then.
  bool in_statistics = false;
};

// What the worker of a refused contribution should change.
enum class Advice : uint8_t {
  kNone,
  kSendHeartbeats,  // its lease ended while it computed
  kBeFaster,        // rounds closed without it
  kAllowStaleness,  // others made more versions meanwhile than the session allows
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
  // Only if it came too late: how many rounds closed since its worker last had a part in one, or
  // joined; and what to change.
  uint64_t missed_rounds = 0;
  Advice advice = Advice::kNone;
  // Only in the first answer to a gradient that is not finite.
  std::optional<GradientFault> fault = std::nullopt;
};

// The wait of a call is over.
struct Released {
  uint64_t ticket = 0;
  absl::Status status;  // an error if there is no answer
  Answer answer;
};

}  // namespace talweg::core
