// SPDX-License-Identifier: Apache-2.0
#include "core/search/generation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {
namespace {

bool IsFiniteLoss(double loss) { return std::abs(loss) <= SearchConfig::kLargestLoss; }

}  // namespace

Generation::Generation(uint32_t number, uint64_t version, const SearchConfig& config)
    : number_(number),
      version_(version),
      config_(config),
      sigma_(config.SigmaAt(version)),
      pairs_(config.num_pairs),
      losses_(config.num_pairs * config.losses_per_pair()) {
  if (!config.evaluates(version)) evaluation_.state = State::kNone;
}

// --- Leases.

void Generation::LeaseEvaluation(uint32_t lease) {
  TALWEG_CHECK(EvaluationIsFree());
  evaluation_.state = State::kLeased;
  evaluation_.holder = lease;
  has_begun_ = true;
}

bool Generation::HasFreePair() {
  if (HasEnough()) return false;
  while (next_free_ < num_pairs() && pairs_[next_free_].state != State::kFree) ++next_free_;
  return next_free_ < num_pairs();
}

std::optional<PairRange> Generation::Lease(uint32_t lease, uint32_t capacity) {
  if (!HasFreePair()) return std::nullopt;
  PairRange range{next_free_, 0};
  while (range.count < capacity && next_free_ < num_pairs() &&
         pairs_[next_free_].state == State::kFree) {
    Pair& pair = pairs_[next_free_];
    if (pair.lost >= kLostAlone) {
      if (range.count > 0) break;
      capacity = 1;
    }
    ++next_free_;
    pair.state = State::kLeased;
    pair.holder = lease;
    ++range.count;
  }
  has_begun_ = true;
  num_leased_ += range.count;
  ever_leased_ = std::max(ever_leased_, next_free_);
  return range;
}

bool Generation::IsHeld(uint32_t lease, PairRange range) const {
  const auto holds = [&](const Pair& pair) {
    return pair.state == State::kLeased && pair.holder == lease;
  };
  if (range.count == 0) return holds(evaluation_);
  const auto begin = pairs_.begin() + range.first;
  return std::any_of(begin, begin + range.count, holds);
}

void Generation::Return(uint32_t lease, PairRange range, bool is_lost) {
  const auto drops = [&](Pair& pair) {
    if (mutation_ == SearchMutation::kForgetLoss) return false;
    return is_lost && ++pair.lost >= config_.max_lost_leases;
  };
  if (range.count == 0 && evaluation_.state == State::kLeased && evaluation_.holder == lease) {
    evaluation_.state = drops(evaluation_) ? State::kDropped : State::kFree;
  }
  for (uint32_t number = range.first; number < range.first + range.count; ++number) {
    Pair& pair = pairs_[number];
    if (pair.state != State::kLeased || pair.holder != lease) continue;
    if (drops(pair)) {
      Settle(pair, State::kDropped);
      continue;
    }
    pair.state = State::kFree;
    --num_leased_;
    next_free_ = std::min(next_free_, number);
  }
}

// --- Losses.

void Generation::Settle(Pair& pair, State state) {
  if (pair.state == State::kLeased) --num_leased_;
  pair.state = state;
  if (state == State::kTold) ++num_told_;
  if (state == State::kDropped) ++num_dropped_;
}

bool Generation::Fail(Pair& pair) const {
  pair.holder = 0;
  if (pair.state == State::kLeased) pair.state = State::kFree;
  return ++pair.failures >= config_.max_failures;
}

TellCounts Generation::Take(const Tell& tell, absl::Time now) {
  const TellCounts counts = tell.evaluate ? TakeEvaluation(tell) : TakePairs(tell, now);
  if (counts.num_accepted + counts.num_to_retry + counts.num_dropped > 0) {
    num_examples_ += tell.num_examples;
    has_begun_ = true;  // It may have been leased before a restart, which forgot that.
  }
  return counts;
}

TellCounts Generation::TakeEvaluation(const Tell& tell) {
  TellCounts counts;
  const PairStatus status = tell.statuses.empty() ? PairStatus::kOk : tell.statuses.front();
  const double loss = tell.losses.front();
  const bool is_loss = status == PairStatus::kOk && IsFiniteLoss(loss);
  if (!NeedsEvaluation() || (!is_loss && !FailureCounts(evaluation_, tell.lease))) {
    counts.num_repeated = 1;
  } else if (is_loss) {
    evaluated_loss_ = loss;
    evaluation_.state = State::kTold;
    counts.num_accepted = 1;
  } else {
    // There is no divisor that could follow: it is evaluated again, whatever the policy says.
    if (status != PairStatus::kFailed) ++num_non_finite_;
    if (Fail(evaluation_)) {
      evaluation_.state = State::kDropped;
      counts.num_dropped = 1;
    } else {
      counts.num_to_retry = 1;
    }
  }
  return counts;
}

TellCounts Generation::TakePairs(const Tell& tell, absl::Time now) {
  TellCounts counts;
  const size_t per_pair = config_.losses_per_pair();
  const size_t num_told = tell.losses.size() / per_pair;
  std::vector<double> losses(per_pair);
  for (size_t index = 0; index < num_told; ++index) {
    const auto number = static_cast<uint32_t>(tell.first_pair + index);
    Pair& pair = pairs_[number];
    if (pair.state == State::kTold || pair.state == State::kDropped || HasEnough()) {
      ++counts.num_repeated;
      if (mutation_ == SearchMutation::kSecondLossWins && pair.state == State::kTold) {
        std::copy_n(tell.losses.begin() + static_cast<ptrdiff_t>(index * per_pair), per_pair,
                    losses_.begin() + static_cast<ptrdiff_t>(number * per_pair));
      }
      continue;
    }
    const PairStatus status = tell.statuses.empty() ? PairStatus::kOk : tell.statuses[index];
    uint32_t not_finite = 0;
    for (size_t i = 0; i < per_pair && status != PairStatus::kFailed; ++i) {
      losses[i] = tell.losses[index * per_pair + i];
      // A worker that says so may have no number for it.
      if (status != PairStatus::kNonFinite && IsFiniteLoss(losses[i])) continue;
      ++not_finite;
      losses[i] = config_.WorstLoss();
    }
    if (mutation_ == SearchMutation::kCountHalfPair && not_finite == 1 && per_pair == 2) {
      not_finite = 0;
      for (double& loss : losses) loss = IsFiniteLoss(loss) ? loss : 0;
    }
    const bool failed = status == PairStatus::kFailed ||
                        (not_finite > 0 && config_.non_finite == NonFinitePolicy::kRetry);
    if (failed && !FailureCounts(pair, tell.lease)) {
      ++counts.num_repeated;
      continue;
    }
    num_non_finite_ += not_finite;
    if (failed) {
      if (pair.state == State::kLeased) --num_leased_;
      if (Fail(pair)) {
        Settle(pair, State::kDropped);
        ++counts.num_dropped;
      } else {
        next_free_ = std::min(next_free_, number);
        ++counts.num_to_retry;
      }
    } else if (not_finite > 0 && config_.non_finite == NonFinitePolicy::kDrop) {
      Settle(pair, State::kDropped);
      ++counts.num_dropped;
    } else {
      std::copy(losses.begin(), losses.end(),
                losses_.begin() + static_cast<ptrdiff_t>(number * per_pair));
      Settle(pair, State::kTold);
      first_told_ = std::min(first_told_, now);
      ++counts.num_accepted;
    }
  }
  return counts;
}

// --- The close.

bool Generation::IsLost() const {
  if (config_.needs_evaluation() && evaluation_.state == State::kDropped) return true;
  return num_dropped_ == num_pairs();
}

bool Generation::MustClose(absl::Time now) const {
  if (num_told_ == 0) return false;
  if (NeedsEvaluation() && (config_.needs_evaluation() || config_.close == GenerationClose::kAll)) {
    return false;
  }
  if (num_told_ + num_dropped_ == num_pairs()) return true;
  return HasEnough() || now >= Deadline();
}

absl::Time Generation::Deadline() const {
  if (config_.close != GenerationClose::kDeadline || num_told_ == 0 ||
      (config_.needs_evaluation() && NeedsEvaluation())) {
    return absl::InfiniteFuture();
  }
  return first_told_ + absl::Seconds(config_.close_seconds);
}

std::optional<double> Generation::evaluated() const {
  if (evaluation_.state != State::kTold) return std::nullopt;
  return evaluated_loss_;
}

std::vector<uint32_t> Generation::ToldPairs() const {
  std::vector<uint32_t> told;
  told.reserve(num_told_);
  for (uint32_t number = 0; number < num_pairs(); ++number) {
    if (pairs_[number].state == State::kTold) told.push_back(number);
  }
  return told;
}

std::vector<double> Generation::ToldLossesInOrder() const {
  const size_t per_pair = config_.losses_per_pair();
  std::vector<double> told;
  told.reserve(num_told_ * per_pair);
  for (uint32_t number = 0; number < num_pairs(); ++number) {
    if (pairs_[number].state != State::kTold) continue;
    const auto first = losses_.begin() + static_cast<ptrdiff_t>(number * per_pair);
    told.insert(told.end(), first, first + static_cast<ptrdiff_t>(per_pair));
  }
  return told;
}

// --- Bytes.

void Generation::Save(ByteWriter& writer) const {
  const size_t per_pair = config_.losses_per_pair();
  const auto state_of = [](const Pair& pair) {
    return static_cast<uint8_t>(pair.state == State::kLeased ? State::kFree : pair.state);
  };
  writer.Byte(has_begun_ ? 1 : 0);
  writer.Uint32(num_non_finite_);
  writer.Uint64(num_examples_);
  writer.Byte(state_of(evaluation_));
  writer.Uint32(evaluation_.failures);
  writer.Uint32(evaluation_.lost);
  writer.Double(evaluated_loss_);
  writer.Uint64(pairs_.size());
  for (size_t number = 0; number < pairs_.size(); ++number) {
    const Pair& pair = pairs_[number];
    writer.Byte(state_of(pair));
    writer.Uint32(pair.failures);
    writer.Uint32(pair.lost);
    for (size_t i = 0; pair.state == State::kTold && i < per_pair; ++i) {
      writer.Double(losses_[number * per_pair + i]);
    }
  }
}

absl::Status Generation::Load(ByteReader& reader, absl::Time now) {
  const auto corrupt = [](absl::string_view what) {
    return MakeError(Reason::kStateCorrupt, what);
  };
  const auto read_pair = [&](Pair& pair) -> absl::Status {
    uint8_t state = 0;
    uint32_t failures = 0;
    uint32_t lost = 0;
    TALWEG_RETURN_IF_ERROR(reader.Byte(state));
    TALWEG_RETURN_IF_ERROR(reader.Uint32(failures));
    TALWEG_RETURN_IF_ERROR(reader.Uint32(lost));
    if (state > static_cast<uint8_t>(State::kNone) ||
        state == static_cast<uint8_t>(State::kLeased) ||
        std::max(failures, lost) > std::numeric_limits<uint16_t>::max()) {
      return corrupt("state has a pair that cannot be");
    }
    pair.state = static_cast<State>(state);
    pair.failures = static_cast<uint16_t>(failures);
    pair.lost = static_cast<uint16_t>(lost);
    return absl::OkStatus();
  };
  const bool evaluates = evaluation_.state != State::kNone;
  uint8_t has_begun = 0;
  uint64_t num_saved = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(has_begun));
  has_begun_ = has_begun != 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint32(num_non_finite_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_examples_));
  TALWEG_RETURN_IF_ERROR(read_pair(evaluation_));
  TALWEG_RETURN_IF_ERROR(reader.Double(evaluated_loss_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_saved));
  if (num_saved != pairs_.size() || evaluates != (evaluation_.state != State::kNone)) {
    return corrupt("state has a generation of another configuration");
  }
  const size_t per_pair = config_.losses_per_pair();
  for (size_t number = 0; number < pairs_.size(); ++number) {
    Pair& pair = pairs_[number];
    TALWEG_RETURN_IF_ERROR(read_pair(pair));
    if (pair.state == State::kNone) return corrupt("state has a pair that cannot be");
    if (pair.state == State::kDropped) ++num_dropped_;
    if (pair.state != State::kTold) continue;
    ++num_told_;
    for (size_t i = 0; i < per_pair; ++i) {
      TALWEG_RETURN_IF_ERROR(reader.Double(losses_[number * per_pair + i]));
    }
  }
  // The time in which others may still tell begins anew, as every lease does.
  if (num_told_ > 0) first_told_ = now;
  ever_leased_ = num_pairs();
  return absl::OkStatus();
}

}  // namespace talweg::core
