// SPDX-License-Identifier: Apache-2.0
//
// The pairs of one generation: which of them are leased, told or dropped, and when it closes. It
// knows no workers: a lease is a number. What it needs to know of time is handed in.
//
// A pair is free, leased, told or dropped. The first losses that are told for a pair count, no
// matter which worker tells them; a failed evaluation makes the pair free again, or drops it once
// max_failures of them were told. A failure counts only of the lease that the pair was given to
// last, and once: so it may be told again, and a worker that was too slow drops no pair that
// another worker evaluates. The evaluation of the parameters themselves, if the generation has one,
// has the same life. Only this room includes this file.
//
// An evaluation may kill its worker, or never end. A lease that ends without a word is lost, and
// max_lost_leases lost ones drop a pair. Nobody can say which pair of a lost range did it, so a
// pair that was lost twice is leased alone from then on, and drops no other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/byte_io.h"
#include "core/search/search_config.h"
#include "core/search/search_event.h"
#include "core/search/search_mutation.h"

namespace talweg::core {

// Consecutive pairs.
struct PairRange {
  uint32_t first = 0;
  uint32_t count = 0;
};

// Thread-compatible.
class Generation {
 public:
  // `number` counts from 1. The generation is evaluated at `version`, under `config`.
  Generation(uint32_t number, uint64_t version, const SearchConfig& config);

  uint32_t number() const { return number_; }
  uint64_t version() const { return version_; }
  float sigma() const { return sigma_; }
  // As it was when the generation opened: later changes hold for the next one.
  const SearchConfig& config() const { return config_; }

  // --- Leases. `lease` is a number that was never used before, above 0.

  // Whether the parameters themselves are to be evaluated, and nobody does; if so, LeaseEvaluation
  // leases that.
  bool EvaluationIsFree() const { return evaluation_.state == State::kFree; }
  void LeaseEvaluation(uint32_t lease);
  // Leases the first free pairs, consecutive and at most `capacity`; none if no pair is free.
  std::optional<PairRange> Lease(uint32_t lease, uint32_t capacity);
  bool HasFreePair();
  // Whether the lease still holds a pair of the range, or the evaluation.
  bool IsHeld(uint32_t lease, PairRange range) const;
  // Frees what the lease still holds. Lost: the worker said nothing, so it counts against the pairs
  // and may drop them, whereupon the generation may have to close.
  void Return(uint32_t lease, PairRange range, bool is_lost);

  // --- Losses.

  // Whether every pair of the range was leased at some time.
  bool WasLeased(PairRange range) const { return range.first + range.count <= ever_leased_; }
  // Likewise the evaluation, if there is one: it is leased before any pair.
  bool EvaluationWasLeased() const { return has_begun_ || ever_leased_ > 0; }
  // Takes what was told; its range is within the generation, and its losses are as many as they
  // must be.
  TellCounts Take(const Tell& tell, absl::Time now);

  // --- The close.

  // Whether anything was leased or told.
  bool has_begun() const { return has_begun_; }
  // Whether no pair can count any more, or the method lacks the loss that it needs.
  bool IsLost() const;
  bool MustClose(absl::Time now) const;
  // When time alone closes it; InfiniteFuture if it does not.
  absl::Time Deadline() const;

  uint32_t num_pairs() const { return static_cast<uint32_t>(pairs_.size()); }
  uint32_t num_told() const { return num_told_; }
  uint32_t num_dropped() const { return num_dropped_; }
  uint32_t num_leased() const { return num_leased_; }
  uint32_t num_non_finite() const { return num_non_finite_; }
  uint64_t num_examples() const { return num_examples_; }
  bool NeedsEvaluation() const {
    return evaluation_.state == State::kFree || evaluation_.state == State::kLeased;
  }
  std::optional<double> evaluated() const;
  // The pairs that were told, ascending, and their losses.
  std::vector<uint32_t> ToldPairs() const;
  std::vector<double> ToldLossesInOrder() const;

  // Everything except leases, which are forgotten: after Load every pair that is not settled is
  // free, and counts as leased before, because it may have been.
  void Save(ByteWriter& writer) const;
  absl::Status Load(ByteReader& reader, absl::Time now);

  // Tests only: a deliberate bug.
  void SwitchOn(SearchMutation mutation) { mutation_ = mutation; }

 private:
  enum class State : uint8_t { kFree, kLeased, kTold, kDropped, kNone };
  struct Pair {
    uint32_t holder = 0;  // the lease that it was given to last; 0 once that has failed
    uint16_t failures = 0;
    uint16_t lost = 0;  // leases
    State state = State::kFree;
  };

  // A pair that was lost so often is leased alone.
  static constexpr uint16_t kLostAlone = 2;

  // One evaluation, of a pair or of the parameters, has failed, and the failure counts. Returns
  // whether it is dropped.
  bool Fail(Pair& pair) const;
  bool FailureCounts(const Pair& pair, uint32_t lease) const {
    return (lease != 0 && pair.holder == lease) || mutation_ == SearchMutation::kCountFailureTwice;
  }
  TellCounts TakeEvaluation(const Tell& tell);
  TellCounts TakePairs(const Tell& tell, absl::Time now);
  void Settle(Pair& pair, State state);
  // Whether no further pair counts: as many are told as close the generation.
  bool HasEnough() const {
    return config_.close == GenerationClose::kCount && num_told_ >= config_.close_pairs;
  }

  uint32_t number_;
  uint64_t version_;
  SearchConfig config_;
  float sigma_;

  std::vector<Pair> pairs_;
  std::vector<double> losses_;  // losses_per_pair for each pair
  Pair evaluation_;             // kNone: the parameters are not evaluated
  double evaluated_loss_ = 0;
  uint32_t next_free_ = 0;  // no pair before it is free
  bool has_begun_ = false;
  uint32_t ever_leased_ = 0;  // all pairs before it were leased at some time
  uint32_t num_told_ = 0;
  uint32_t num_dropped_ = 0;
  uint32_t num_leased_ = 0;
  uint32_t num_non_finite_ = 0;
  uint64_t num_examples_ = 0;
  absl::Time first_told_ = absl::InfiniteFuture();
  SearchMutation mutation_ = SearchMutation::kNone;
};

}  // namespace talweg::core
