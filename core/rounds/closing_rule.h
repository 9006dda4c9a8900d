// SPDX-License-Identifier: Apache-2.0
//
// Decides when a round opens and when it closes, by the policy. Only this room includes this file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "core/rounds/aggregation_config.h"
#include "core/rounds/expectations.h"
#include "core/rounds/open_round.h"

namespace talweg::core {

// The policy `base` with the closing rule of `other`: close, close_count, close_weight,
// close_seconds, too_few, min_workers, progress_seconds, workers_may_close.
AggregationConfig WithClosingRule(const AggregationConfig& base, const AggregationConfig& other);
bool SameClosingRule(const AggregationConfig& a, const AggregationConfig& b);

// Whether a synchronous round that has begun may freeze the set of workers that it expects.
// Before version 1 it may not, as long as fewer than min_workers are live.
inline bool MayFreeze(const AggregationConfig& config, const OpenRound& round,
                      const Expectations& expectations, uint64_t version,
                      size_t num_live_gradient) {
  return config.synchronous() && !expectations.frozen() && round.has_begun() &&
         (version > 0 || num_live_gradient >= config.min_workers);
}

// Contributions that close a round by CloseRule::kCount. A changed rule holds for the open round at
// once, but a larger max_workers does not; so the places that there are suffice.
uint64_t NeededContributions(const AggregationConfig& config);

// Whether the round closes. A round of abstentions alone closes if nobody is expected any more, or
// if one of them asks for it; it makes no version. An empty round never closes.
bool MustClose(const AggregationConfig& config, const OpenRound& round,
               const Expectations& expectations, absl::Time now);

// Whether the workers that abstain are waited with no longer: nobody is expected, so nothing but a
// contribution of theirs, or of a worker that joins, can close a round that is still open.
inline bool AbstainersMayGo(const OpenRound& round, const Expectations& expectations) {
  return expectations.frozen() && expectations.outstanding() == 0 && !round.abstainers.empty();
}

// Whether the round closes, or lets its abstainers go.
inline bool IsDue(const AggregationConfig& config, const OpenRound& round,
                  const Expectations& expectations, absl::Time now) {
  return MustClose(config, round, expectations, now) || AbstainersMayGo(round, expectations);
}

// When time alone closes the round; InfiniteFuture if it never does.
absl::Time CloseDeadline(const AggregationConfig& config, const OpenRound& round,
                         const Expectations& expectations);

}  // namespace talweg::core
