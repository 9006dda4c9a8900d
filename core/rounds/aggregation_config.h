// SPDX-License-Identifier: Apache-2.0
//
// How a fleet makes versions together: mode, closing rule, staleness, leases, reduction. The
// message AggregationPolicy in proto/talweg/v1/session.proto says what each field means; the names
// are the same.
#pragma once

#include <cstdint>
#include <tuple>

#include "absl/status/status.h"
#include "core/base/field.h"

namespace talweg::core {

enum class AggregationMode : uint8_t { kAsynchronous, kSynchronous, kBoundedStaleness };
enum class CloseRule : uint8_t { kAll, kCount, kWeight, kDeadline };
enum class TooFew : uint8_t { kWait, kClose };
enum class Reduction : uint8_t { kMean, kTrimmedMean, kMedian };
enum class ReduceOrder : uint8_t { kAny, kByWorker };
enum class StaleScale : uint8_t { kNone, kInverse };

struct AggregationConfig {
  // The most workers that a session may have, and the most if contributions are staged.
  static constexpr uint64_t kMaxWorkers = 131072;
  static constexpr uint64_t kMaxStagedWorkers = 4096;
  // Each worker's timer may ring once in this time.
  static constexpr double kMinProgressSeconds = 0.1;

  uint64_t max_staleness = 0;                // versions; 0 in kBoundedStaleness: no limit
  uint64_t lease_seconds = 30;               // after which a silent worker has expired
  uint64_t gradient_accumulation_steps = 1;  // contributions whose mean makes a step
  AggregationMode mode = AggregationMode::kAsynchronous;
  uint64_t max_rounds_ahead = 0;  // verdicts ahead of the slowest
  CloseRule close = CloseRule::kAll;
  uint64_t close_count = 0;  // contributions
  double close_weight = 0;   // sum of weights
  double close_seconds = 0;  // after the first contribution
  TooFew too_few = TooFew::kWait;
  uint64_t min_workers = 1;     // live, before the first version
  double progress_seconds = 0;  // without a verdict; 0: for ever
  Reduction reduction = Reduction::kMean;
  double trim_fraction = 0;  // at each end
  ReduceOrder reduce_order = ReduceOrder::kAny;
  uint64_t max_workers = 0;  // 0: kMaxWorkers
  StaleScale stale_scale = StaleScale::kNone;
  bool workers_may_close = false;  // a contribution may ask to close its round

  static constexpr absl::string_view kModes[] = {"ASYNCHRONOUS", "SYNCHRONOUS",
                                                 "BOUNDED_STALENESS"};
  static constexpr absl::string_view kCloseRules[] = {"ALL", "COUNT", "WEIGHT", "DEADLINE"};
  static constexpr absl::string_view kTooFew[] = {"WAIT", "CLOSE"};
  static constexpr absl::string_view kReductions[] = {"MEAN", "TRIMMED_MEAN", "MEDIAN"};
  static constexpr absl::string_view kReduceOrders[] = {"ANY", "BY_WORKER"};
  static constexpr absl::string_view kStaleScales[] = {"NONE", "INVERSE"};

  static auto Fields() {
    using C = AggregationConfig;
    return std::tuple{
        Field<C, uint64_t>{"max_staleness", &C::max_staleness, AtLeast(0)},
        Field<C, uint64_t>{"lease_seconds", &C::lease_seconds, Closed(1, 86400)},
        Field<C, uint64_t>{"gradient_accumulation_steps", &C::gradient_accumulation_steps,
                           Closed(1, 65536)},
        ChoiceField<C, AggregationMode>{"mode", &C::mode, kModes, Change::kFixed},
        Field<C, uint64_t>{"max_rounds_ahead", &C::max_rounds_ahead, Closed(0, 1e6)},
        ChoiceField<C, CloseRule>{"close", &C::close, kCloseRules},
        Field<C, uint64_t>{"close_count", &C::close_count, Closed(0, kMaxWorkers)},
        Field<C, double>{"close_weight", &C::close_weight, AtLeast(0)},
        Field<C, double>{"close_seconds", &C::close_seconds, Closed(0, 86400)},
        ChoiceField<C, TooFew>{"too_few", &C::too_few, kTooFew},
        Field<C, uint64_t>{"min_workers", &C::min_workers, Closed(1, kMaxWorkers)},
        Field<C, double>{"progress_seconds", &C::progress_seconds, Closed(0, 86400)},
        ChoiceField<C, Reduction>{"reduction", &C::reduction, kReductions, Change::kFixed},
        Field<C, double>{"trim_fraction", &C::trim_fraction, HalfOpen(0, 0.5)},
        ChoiceField<C, ReduceOrder>{"reduce_order", &C::reduce_order, kReduceOrders,
                                    Change::kFixed},
        Field<C, uint64_t>{"max_workers", &C::max_workers, Closed(0, kMaxWorkers)},
        ChoiceField<C, StaleScale>{"stale_scale", &C::stale_scale, kStaleScales},
        Field<C, bool>{"workers_may_close", &C::workers_may_close}};
  }

  // Fails with FIELD_OUT_OF_RANGE, naming the field, if the mode or the rule does not use a field
  // that is not at its default, if fields contradict each other, or if slow workers would starve.
  absl::Status Validate() const;

  // What makes a client say the field `name` ("close COUNT"), because no default would be a good
  // guess; empty if nothing does. A trim_fraction of 0 is as good as any other, once it is said.
  absl::string_view NeededBy(absl::string_view name) const;

  bool synchronous() const { return mode == AggregationMode::kSynchronous; }
  // Whether all contributions of a round are kept until it closes.
  bool stages_all() const {
    return reduction != Reduction::kMean || reduce_order == ReduceOrder::kByWorker;
  }
  // Whether several contributions may make one version.
  bool folds() const { return synchronous() || gradient_accumulation_steps > 1; }
  // Whether the answer to a contribution may wait for other workers.
  bool replies_wait() const { return mode != AggregationMode::kAsynchronous; }
  // Whether a contribution may bring a weight.
  bool takes_weights() const { return reduction == Reduction::kMean; }
  // Whether a contribution may ask to close the round that it is part of.
  bool takes_closing() const { return !synchronous() || workers_may_close; }
  // How many of `count` values a trimmed mean leaves out at each end.
  size_t NumTrimmed(size_t count) const;
  uint64_t worker_limit() const { return max_workers == 0 ? kMaxWorkers : max_workers; }

  // How many bytes of records of versions may be kept.
  uint64_t RecordBytes() const { return uint64_t{folds() ? 4096u : 768u} << 10; }

  // Bytes that an open round takes for `num_elements` parameters, without contributions that are
  // still to be folded: the accumulators and the reduced gradient, or one vector per worker and the
  // reduced gradient.
  uint64_t RoundBytes(uint64_t num_elements) const;
};

}  // namespace talweg::core
